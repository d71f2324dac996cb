"""Whether what a person gave from Python is of the kinds that `search` and `resume` take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoft.core.configs import Budget, Resources, StrategyConfig
from autoft.core.errors import ConfigError
from autoft.space import SearchSpace

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "out": ((str, Path), "a path or URI"),
    "task": ((str,), "a name of `autoft list tasks`"),
    "target": ((str,), "the name of a column"),
    "group": ((str,), "the name of a column"),
    "space": ((str, Path, SearchSpace), "a shipped space's name, the path of a YAML file or an autoft.SearchSpace"),
    "overrides": ((Mapping,), "a dict such as {'optimizer.lr': 1e-3}"),
    "metric": ((str, Sequence), "a name of `autoft list metrics` or a list of them"),
    "budget": ((Budget,), "an autoft.Budget"),
    "searcher": ((str, StrategyConfig), "a name of `autoft list searchers` or an autoft.StrategyConfig"),
    "scheduler": ((str, StrategyConfig), "a name of `autoft list schedulers` or an autoft.StrategyConfig"),
    "resources": ((Resources,), "an autoft.Resources"),
    "address": ((str,), "'auto' or 'host:port'"),
    "limits": ((Mapping,), "a dict such as {'parameters': 10e6}"),
    "seed": ((int,), "a whole number"),
    "learn_from": ((str, Path, Sequence), "a run folder or experience file, or a list of them"),
    "min_improvement": ((int, float), "a number"),
    "confirm": ((int,), "a whole number"),
    "keep": ((int,), "a whole number"),
}
_INNER: dict[str, tuple[type, ...]] = {"learn_from": (str, Path)}
"""What lists hold, where it is not text alone."""
_MAY_BE_NONE = _KINDS.keys() - {"out", "seed", "learn_from", "confirm", "keep"}


def check_arguments(**given: Any) -> None:
    """Refuse arguments of the wrong kind.

    Raises:
        ConfigError: Naming the first such argument, its value and what it must be.
    """
    for name, value in given.items():
        kinds, words = _KINDS[name]
        if value is None and name in _MAY_BE_NONE:
            continue
        inner = list(value) if isinstance(value, Mapping | Sequence) else []
        if (
            not isinstance(value, kinds)
            or isinstance(value, bool)
            or not all(isinstance(one, _INNER.get(name, (str,))) for one in inner)
        ):
            raise ConfigError(f"{name} must be {words}, not {value!r}.")
