"""How much each earlier search has to say about the data at hand."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.strategies.experience.model import DataFacts

LEAST = 0.2
"""Weight that the facts of the data leave to a search on the most different ones, beside 1 for equal ones."""
FAR = 4.0
"""Distance, in doublings averaged over the facts that both have, at which half of what the facts can take is lost."""
PROBE_FAR = 0.3
"""Difference of a probe's value that counts like `FAR`."""
TRUST = 10.0
"""How sharply rank agreement tells searches apart once there are many trials: a tenth more is worth a factor of e."""
PATIENCE = 20.0
"""Trials at which agreement counts by half."""
MAX_PAIRED = 80
"""Trials whose pairs are compared, evenly over their order, so that a decision's time does not grow without bound."""


def similarity(one: DataFacts, other: DataFacts) -> float:
    """Return how alike two data sets are by their facts, from `LEAST` to 1; 1 where nothing can be compared."""
    gaps = [
        abs(math.log2(mine) - math.log2(theirs))
        for mine, theirs in (
            (one.rows, other.rows),
            (one.classes, other.classes),
            (one.imbalance, other.imbalance),
            (one.input_size, other.input_size),
            (one.text_length, other.text_length),
        )
        if mine and theirs and mine > 0 and theirs > 0
    ]
    gaps += [
        FAR * abs(one.probes[name] - other.probes[name]) / PROBE_FAR
        for name in sorted(one.probes.keys() & other.probes.keys())
    ]
    if not gaps:
        return 1.0
    distance = math.fsum(gaps) / len(gaps)
    return LEAST + (1 - LEAST) / (1 + distance / FAR)


def agreement(losses: NDArray[np.float64], order: Sequence[int]) -> NDArray[np.float64]:
    """Return the share of pairs of trials that each search ranks as they came out here, of shape (searches,).

    Args:
        losses: What each search says of each trial, of shape (trials, searches).
        order: Trials from the best on.
    """
    taken = np.unique(np.linspace(0, len(order) - 1, min(len(order), MAX_PAIRED)).round().astype(int))
    ranked = losses[np.asarray(order)[taken]]
    better, worse = np.triu_indices(len(ranked), 1)
    if not len(better):
        return np.full(losses.shape[1], 0.5)
    gaps = ranked[worse] - ranked[better]
    found: NDArray[np.float64] = ((gaps > 0) + 0.5 * (gaps == 0)).mean(0)
    return found


def weights(relevance: NDArray[np.float64], losses: NDArray[np.float64], order: Sequence[int]) -> NDArray[np.float64]:
    """Return the weight of each search, 1 in all: its relevance, and how well it ranks what was tried here.

    Reference: Feurer et al., Practical Transfer Learning for Bayesian Optimization, arXiv:1802.02219, weighs the models
    of earlier searches by their ranking loss, too.
    """
    agreed = agreement(losses, order) if order else np.zeros(len(relevance))
    trust = TRUST * len(order) / (len(order) + PATIENCE)
    found = relevance * np.exp(trust * (agreed - agreed.max()))
    shares: NDArray[np.float64] = found / found.sum()
    return shares
