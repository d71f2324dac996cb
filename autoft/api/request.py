"""What a search is asked for, checked and in the form in which its configuration holds it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from autoft.core import catalog
from autoft.core.configs import Budget, Resources, SearchConfig, StrategyConfig
from autoft.core.entries.finetune import PROBE_ROWS
from autoft.core.errors import ConfigError
from autoft.core.metrics import METRICS, parse_objective
from autoft.engine.strategy import config_of, strategy_of
from autoft.space import SearchSpace
from autoft.space.tree import Block
from autoft.strategies import Strategy

USUAL_METRIC = "accuracy"
"""Of every task, where the person names none that tells how good a trial is."""
SEEDS = 2**32
"""Seeds are below it, as numpy's and scikit-learn's are."""
USUAL = ("curves", "curves")
"""Searcher and scheduler where the person names none."""
DEFAULT_BUDGET = Budget(trials=32, epochs=12)
"""Where neither the person nor the space says how much."""


def metrics_of(metric: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the metrics, each once; accuracy where none is asked for, and before the others where all are costs.

    Raises:
        ConfigError: If one is unknown, there is none, or the first one is a cost and another is not.
    """
    given = [USUAL_METRIC] if metric is None else [metric] if isinstance(metric, str) else list(metric)
    if not given:
        raise ConfigError(f"metric is empty; leave it out for {USUAL_METRIC}.")
    costs = [METRICS[parse_objective(name).metric].is_cost for name in given]
    if all(costs):
        given = [USUAL_METRIC, *given]
    elif costs[0]:
        first = given[costs.index(False)]
        raise ConfigError(
            f"The first metric ranks the trials and must tell how good they are, not '{given[0]}'; "
            f"give '{first}' first."
        )
    return tuple(dict.fromkeys(given))


def put_first(metric: str | Sequence[str] | None, metrics: Sequence[str]) -> list[str]:
    """Return the line that says that a metric was put before those that were asked for, if one was.

    Args:
        metric: As asked for.
        metrics: What `metrics_of` made of it.
    """
    if metric is None or metrics[0] in ([metric] if isinstance(metric, str) else metric):
        return []
    costs = ", ".join(metrics[1:])
    return [f"{metrics[0]} is put before {costs}: by a cost alone the smallest model would win, trained or not."]


def check_share(budget: Budget, num_rows: int) -> None:
    """Refuse epochs that would have no row.

    Raises:
        ConfigError: If a pass over `num_rows` training rows has more epochs than rows.
    """
    if budget.epochs_per_pass > num_rows:
        raise ConfigError(
            f"epochs_per_pass is {budget.epochs_per_pass}, and there are {num_rows} rows to train on: an epoch must "
            "have at least one."
        )


def check_checkpointing(resources: Resources, space: SearchSpace) -> None:
    """Refuse gradient checkpointing where nothing would use it.

    Raises:
        ConfigError: If the space trains heads alone.
    """
    section = next(section for section in space.sections if section.name == "finetune")
    modes = {branch.name for branch in section.branches} if isinstance(section, Block) else set()
    if resources.gradient_checkpointing and modes == {"head"}:
        raise ConfigError(
            f"gradient_checkpointing would have no effect: the space '{space.name}' trains heads alone; leave it out."
        )


def check_numbers(*, seed: int, keep: int, confirm: int, min_improvement: float | None, metrics: Sequence[str]) -> None:
    """Refuse numbers that cannot be.

    Raises:
        ConfigError: Naming the first of them and what it must be.
    """
    if keep < 1:
        raise ConfigError(f"keep must be at least 1, not {keep}: the winner's checkpoint is needed.")
    if confirm < 0:
        raise ConfigError(f"confirm must be at least 0, not {confirm}.")
    if min_improvement is not None and not 0 < min_improvement < math.inf:
        raise ConfigError(f"min_improvement must be a number above 0, not {min_improvement}.")
    if min_improvement is not None and min_improvement >= 1 and len(metrics) > 1:
        raise ConfigError(
            f"min_improvement must be below 1, not {min_improvement}: of several metrics it is a share, that of the "
            "space between the worst and the best which the front dominates."
        )
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed must be a whole number from 0 to {SEEDS - 1}, not {seed!r}.")


def probes_sample(num_rows: int) -> list[str]:
    """Return the line that says on how many of so many training rows the frozen probes are solved, if not on all."""
    if num_rows <= PROBE_ROWS:
        return []
    return [f"The frozen probes are solved on {PROBE_ROWS:,} of the {num_rows:,} training rows, a stratified sample."]


def within_limits(space: SearchSpace, limits: Mapping[str, float]) -> tuple[SearchSpace, list[str]]:
    """Return the space without the backbones that surely break the limit on parameters, and a line that names these.

    Raises:
        ConfigError: If none is left.
    """
    limit = limits.get("parameters", math.inf)
    sizes = {name: _num_parameters(name) for name in (backbone["name"] for backbone in space.backbones())}
    over = {name: size for name, size in sizes.items() if size > limit}
    if not over:
        return space, []
    if len(over) == len(sizes):
        smallest = min(over, key=over.__getitem__)
        raise ConfigError(
            f"Every backbone of the space '{space.name}' has more than {limit:,.0f} parameters; the smallest is "
            f"{smallest} with {over[smallest]:,}."
        )
    left = [name for name in sizes if name not in over]
    line = f"Left out, since they have more than {limit:,.0f} parameters: {', '.join(over)}."
    return space.narrowed({"backbone.name": {"choice": left}}), [line]


def _num_parameters(backbone: str) -> int:
    """Return the published parameters of a backbone, 0 where they are not known."""
    return int(catalog.entry("backbone", backbone).facts.get("parameters", 0))


def strategies_of(searcher: Any, scheduler: Any) -> tuple[tuple[StrategyConfig, StrategyConfig], Strategy]:
    """Return both as configs, and the strategy that they make."""
    one, other = searcher or USUAL[0], scheduler or USUAL[1]
    found = config_of("searcher", one), config_of("scheduler", other)
    return found, strategy_of(*found, objects={"searcher": one, "scheduler": other})


def resumed_strategy(config: SearchConfig, objects: Mapping[str, Any]) -> Strategy:
    """Return the strategy of a search, with the objects of Ray's that it was given, by kind.

    Raises:
        ConfigError: If an object is missing, or is another than before.
    """
    for kind, known in (("searcher", config.searcher), ("scheduler", config.scheduler)):
        given = objects[kind]
        if given is not None and config_of(kind, given) != known:
            raise ConfigError(
                f"The {kind} of this search is {known.name}, and a resume cannot change it; leave it out."
            )
    return strategy_of(config.searcher, config.scheduler, objects=objects)


def is_of_ray(given: Any) -> bool:
    """Return whether this is an object of one of Ray's classes; it imports nothing."""
    return any(cls.__module__.startswith("ray.") for cls in type(given).__mro__)


def default_space(task: str) -> str:
    """Return the name of a task's default space."""
    return str(catalog.entry("task", task).facts["space"])


def whole_budget(given: Budget, space: Budget | None) -> Budget:
    """Return a budget with what is open filled from the space."""
    base = space or Budget()
    epochs = given.epochs or base.epochs or DEFAULT_BUDGET.epochs
    trials = given.trials or base.trials or DEFAULT_BUDGET.trials
    return dataclasses.replace(given, trials=trials, epochs=epochs)


def grown(config: SearchConfig, budget: Budget) -> SearchConfig:
    """Return a search with a larger budget.

    Raises:
        ConfigError: If a new total is below the old one, or an epoch would be another share of the data.
    """
    before = config.budget.epochs_per_pass
    if budget.epochs_per_pass not in (1, before):
        raise ConfigError(f"The search has {before} epochs_per_pass, and a resume cannot change it; leave it out.")
    changes = {}
    for name in ("trials", "epochs", "seconds"):
        new, old = getattr(budget, name), getattr(config.budget, name)
        if new is None:
            continue
        if old is not None and new < old:
            raise ConfigError(
                f"The search has a budget of {old:g} {name}; a resume can raise it, not lower it to {new:g}."
            )
        changes[name] = new
    return dataclasses.replace(config, budget=dataclasses.replace(config.budget, **changes))
