"""The strategy of a search: autoft's own by name, or Ray Tune's as `ray:CLASS`."""

from collections.abc import Mapping
from typing import Any

from autoft.core.configs import StrategyConfig
from autoft.core.errors import ConfigError
from autoft.strategies import Strategy, build_strategy

RAY = "ray:"
"""Before the name of a class of ray.tune.search or ray.tune.schedulers."""
OBJECT = "ray-object:"
"""Before the name of the class of an object from Python, which no file can hold."""


def strategy_of(
    searcher: StrategyConfig, scheduler: StrategyConfig, *, objects: Mapping[str, Any] | None = None
) -> Strategy:
    """Return the strategy that a search asks.

    Args:
        searcher: A name of the catalog, or `ray:CLASS`, with its options; or the stand-in of an object.
        scheduler: Likewise.
        objects: Ray's own searcher and scheduler from Python, by "searcher" and "scheduler".

    Raises:
        ConfigError: If a name or an option is unknown, a class of Ray's cannot be plugged in, or an object is missing.
    """
    given = objects or {}
    return build_strategy(
        _part("searcher", searcher, given.get("searcher")), _part("scheduler", scheduler, given.get("scheduler"))
    )


def config_of(kind: str, given: Any) -> StrategyConfig:
    """Return what stands for a searcher or scheduler in the run folder, once it is found to work.

    Args:
        kind: "searcher" or "scheduler".
        given: A name, a config, or an object of Ray's.

    Raises:
        ConfigError: If an object is none of Ray's, or cannot be plugged in.
    """
    if isinstance(given, StrategyConfig):
        return given
    if isinstance(given, str):
        return StrategyConfig(name=given)
    from autoft.engine.plugged import checked

    checked(kind, given)  # type: ignore[arg-type]
    return StrategyConfig(name=f"{OBJECT}{type(given).__name__}")


def _part(kind: str, config: StrategyConfig, given: Any) -> Any:
    name = config.name
    if not name.startswith((RAY, OBJECT)):
        return config
    from autoft.engine.plugged import RayScheduler, RaySearcher, checked, made

    if name.startswith(OBJECT):
        if given is None:
            raise ConfigError(
                f"The {kind} of this search was an object of Python, {name.removeprefix(OBJECT)}, which no file can "
                f"hold: go on with autoft.resume(RUN, {kind}=...), giving an equal one. By its name, "
                f"'{RAY}{name.removeprefix(OBJECT)}' with options, a search needs no such help."
            )
        plugged = checked(kind, given)  # type: ignore[arg-type]
    else:
        plugged = made(kind, name.removeprefix(RAY), config.options)  # type: ignore[arg-type]
    return RaySearcher(prototype=plugged) if kind == "searcher" else RayScheduler(prototype=plugged)
