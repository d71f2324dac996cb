"""Starts that lean toward the default recipe of a space, where whoever wrote the space meant it.

In a space of twenty parameters an even draw changes all of them at once, and is seldom as good as a recipe that was
chosen with care. A draw that leans takes, by its weight, each value from around its default, else evenly. A space in
which nothing has a `prior:` has a default by accident, and nothing leans. The backbone never does: of it `ranking`
knows more.

Reference: Mallik et al., PriorBand, arXiv:2306.12370, section 5: draws around the prior beside even ones.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from autoft.space import Choice, Domain
from autoft.space.domains import UNSET, same_value
from autoft.strategies import ranking
from autoft.strategies.base import Assignment, History
from autoft.strategies.encoding import Encoding

WIDTH = 0.15
"""Standard deviation around a default, as a share of its range; PriorBand has .25."""
WEIGHTS = (0.9, 0.6, 0.3, 0.0)
"""How much starts lean, one after the other: the last of four is even, in case the default is of no use here."""
_KNOTS = np.linspace(0.0, 1.0, 257)


def is_meant(encoding: Encoding) -> bool:
    """Return whether some parameter but the backbone has a prior."""
    return any(one.domain.prior is not UNSET for one in encoding.parameters if one.label != ranking.BACKBONE)


def weight_of(number: int) -> float:
    """Return how much the start after `number` others leans; the first of all is the default recipe itself."""
    return WEIGHTS[(number - 1) % len(WEIGHTS)]


def decoder(history: History, encoding: Encoding, weight: float) -> Callable[[np.ndarray], Assignment]:
    """Return what makes an assignment of even positions in [0, 1], leaning by `weight`; it may be a forbidden one.

    Backbones have as much of the interval as `ranking` finds them worth trials. Each map is a rising one, so what fills
    the cube evenly fills the space evenly, as densely as it leans.
    """
    maps: list[tuple[int, Callable[[float], float]]] = []
    leans = weight > 0 and is_meant(encoding)
    for place, parameter in enumerate(encoding.parameters):
        domain, shares_V = parameter.domain, ranking.shares(history, parameter)
        if shares_V is not None and isinstance(domain, Choice):
            maps.append((place, partial(ranking.placed, shares_V=shares_V, domain=domain)))
        elif leans and parameter.label != ranking.BACKBONE:
            maps.append((place, _leaning(domain, weight)))

    def decode(positions_P: np.ndarray) -> Assignment:
        moved_P = positions_P.copy()
        for place, move in maps:
            moved_P[place] = move(float(positions_P[place]))
        return encoding.decode(moved_P)

    return decode


def sampler(history: History, encoding: Encoding, weight: float) -> Callable[[np.random.Generator], Assignment]:
    """Return what draws by `weight` from around the default; where nothing leans that is `ranking.sampler`."""
    if weight == 0 or not is_meant(encoding):
        return ranking.sampler(history)
    decode = decoder(history, encoding, weight)

    def sample(rng: np.random.Generator) -> Assignment:
        while True:
            assignment = decode(rng.random(len(encoding.parameters)))
            if history.space.forbids(assignment) is None:
                return assignment

    return sample


def _leaning(domain: Domain, weight: float) -> Callable[[float], float]:
    """Return the map of even positions to those that lean toward the domain's default."""
    at = domain.position(domain.default)
    if isinstance(domain, Choice):
        shares_V = (1 - weight) * np.array(domain.shares)
        shares_V[next(place for place, one in enumerate(domain.values) if same_value(one, domain.default))] += weight
        return partial(ranking.placed, shares_V=shares_V, domain=domain)
    masses = _masses(at, weight)
    return lambda position: float(np.interp(position, masses, _KNOTS))


def _masses(at: float, weight: float) -> np.ndarray:
    """Return the mass below each knot: of an even draw, and by `weight` of a bell around `at` within [0, 1]."""
    from scipy.special import ndtr

    bell = ndtr((_KNOTS - at) / WIDTH)
    return np.asarray((1 - weight) * _KNOTS + weight * (bell - bell[0]) / (bell[-1] - bell[0]))
