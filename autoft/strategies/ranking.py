"""Which backbones are worth trials before the search's own trials say so.

The frozen probe's value and the LogME of its features are measured on the data and count the same; of a backbone that
is not probed yet, or never, the published accuracy is all there is. The prior fades as own trials come in.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from autoft.core import catalog
from autoft.core.jsonable import Json
from autoft.space import Choice, Parameter, SearchSpace
from autoft.space.tree import Block
from autoft.strategies.base import Assignment, History, TrialView

BACKBONE = "backbone"
"""The label of the parameter that chooses the backbone's branch."""
STRENGTH = 0.7
"""Logarithm of how many times as likely a backbone is for each standard deviation that it is ahead."""
FARTHEST = 2.0
"""Standard deviations that count at most."""
PATIENCE = 16
"""Own trials at which the prior counts by half."""
STEP = 8
"""It fades in steps of so many trials, so that what was worked out with it can be kept for a while."""
LEAST_SPREAD: Mapping[str, float] = {"probe": 0.02, "logme": 0.005, "published": 1.0}
"""Spreads of scores below which they are taken to be equally good the more."""
ALWAYS_PROBED = 3
"""Backbones that are probed however short the time is."""
PROBE_SHARE = 1 / 3
"""Of the seconds of a budget, those after which no further backbone is probed."""


def weights(history: History) -> Mapping[str, float]:
    """Return how many times as often as the space each backbone's branch should be drawn, by its label.

    Their mean over the space is 1. Empty where there is nothing to choose: one backbone, or all equally good.
    """
    domain = _choice(history.space)
    if domain is None:
        return {}
    own = history.num_begun // STEP * STEP
    strength = STRENGTH * PATIENCE / (PATIENCE + own)
    scores = _scores(history, domain)
    factors = {label: math.exp(strength * min(max(scores[label], -FARTHEST), FARTHEST)) for label in domain.values}
    if len(set(factors.values())) == 1:
        return {}
    mean = math.fsum(share * factor for share, factor in zip(domain.shares, factors.values(), strict=True))
    return {label: factor / mean for label, factor in factors.items()}


def sampler(
    history: History, factors: Mapping[str, float] | None = None
) -> Callable[[np.random.Generator], Assignment]:
    """Return what draws from the space, its backbones as much more often as `factors` say; None: the `weights`."""
    space = history.space
    given = weights(history) if factors is None else factors
    if not given:
        return space.sample
    most = max(given.values())

    def sample(rng: np.random.Generator) -> Assignment:
        while True:
            drawn = space.sample(rng)
            if rng.random() * most < given.get(str(drawn.get(BACKBONE)), most):
                return drawn

    return sample


def shares(history: History, parameter: Parameter) -> np.ndarray | None:
    """Return how likely each value of `parameter` is by `weights`; None where that is as likely as in the space."""
    domain = parameter.domain
    factors = weights(history) if parameter.label == BACKBONE else {}
    if not factors or not isinstance(domain, Choice):
        return None
    shares_V = np.array(domain.shares) * [factors[label] for label in domain.values]
    return np.asarray(shares_V / shares_V.sum())


def placed(position: float, shares_V: np.ndarray, domain: Choice) -> float:
    """Return the position in a choice of the value that lies at `position` where values have `shares_V`."""
    index = int(np.searchsorted(np.cumsum(shares_V)[:-1], position, side="right"))
    return domain.position(domain.values[index])


def probe_order(space: SearchSpace) -> list[Json]:
    """Return the backbones in the order in which they are probed.

    First is that of the default recipe; then come those of the greatest published accuracy; those of which none is
    published are last, in the space's order.
    """
    found = space.backbones()
    if len(found) < 2:
        return found
    default = space.recipe(space.default())["backbone"]
    published = [_published(str(backbone["name"])) for backbone in found]

    def key(number: int) -> tuple[bool, float, int]:
        accuracy = published[number]
        return found[number] != default, math.inf if accuracy is None else -accuracy, number

    return [found[number] for number in sorted(range(len(found)), key=key)]


def may_probe(history: History) -> bool:
    """Return whether there is time for one more probe.

    With a budget of seconds, once three backbones are probed, others are while less than a third of it is used.
    """
    limit = history.budget.seconds
    return limit is None or history.num_probes < ALWAYS_PROBED or history.seconds_used < PROBE_SHARE * limit


def names(space: SearchSpace) -> dict[str, str]:
    """Return the name of each backbone's branch, by its label."""
    section = next(section for section in space.sections if section.name == BACKBONE)
    return {branch.label: branch.name for branch in section.branches} if isinstance(section, Block) else {}


def probes(history: History) -> dict[str, TrialView]:
    """Return the frozen probes that have ended, by the label of the backbone's branch."""
    every = names(history.space)
    only = next(iter(every), "")
    return {str(view.assignment.get(BACKBONE, only)): view for view in history.probes if view.values}


def _choice(space: SearchSpace) -> Choice | None:
    """Return the choice between backbones; None where there is one."""
    found = (one.domain for one in space.parameters if one.label == BACKBONE)
    return next((domain for domain in found if isinstance(domain, Choice)), None)


def _scores(history: History, domain: Choice) -> dict[str, float]:
    """Return how many standard deviations each backbone is ahead of the others.

    What is measured compares those that are probed; in the mean they are as far ahead as by what is published of all.
    """
    every = names(history.space)
    # A space that says how likely its backbones are has its own prior.
    known = {label: _published(name) for label, name in every.items()} if domain.probabilities is None else {}
    published = _ahead({label: value for label, value in known.items() if value is not None}, "published")
    views = {label: view for label, view in probes(history).items() if label in every}
    sign = 1.0 if history.objective.maximize else -1.0
    values = {label: view.best(history.objective) for label, view in views.items()}
    measured = [
        _ahead({label: sign * value for label, value in values.items() if value is not None}, "probe"),
        _ahead(
            {label: view.transferability for label, view in views.items() if view.transferability is not None}, "logme"
        ),
    ]
    level = math.fsum(published.get(label, 0.0) for label in views) / max(1, len(views))
    scores = {label: published.get(label, 0.0) for label in every}
    for label in views:
        found = [one[label] for one in measured if label in one]
        is_worst = values[label] is None
        scores[label] = -FARTHEST if is_worst else level + math.fsum(found) / len(found)
    return scores


def _ahead(values: Mapping[str, float], of: str) -> dict[str, float]:
    """Return by how many standard deviations each value is above their mean."""
    if not values:
        return {}
    mean = math.fsum(values.values()) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values.values()) / len(values))
    return {label: (value - mean) / max(spread, LEAST_SPREAD[of]) for label, value in values.items()}


def _published(name: str) -> float | None:
    accuracy = catalog.entry("backbone", name).facts.get("accuracy")
    return None if accuracy is None else float(accuracy)
