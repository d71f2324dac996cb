"""What a model of learning curves is fitted on: the latest values of the trials, on a scale that suits it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoft.strategies.base import History, TrialView
from autoft.strategies.curve_model import Observations
from autoft.strategies.encoding import Encoding
from autoft.strategies.prior import Prior
from autoft.strategies.register import changed
from autoft.strategies.rungs import loss_at

LATEST = 2
"""Rungs of a trial that count, from the last it came to: earlier ones say little beside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What one trial came to."""

    loss: float
    """Its best, lower is better; infinite where it has no finite value."""
    latest: tuple[tuple[int, float], ...]
    """The last rungs that it came to, with its loss at each."""


class Reader:
    """Reads what trials came to; keeps it, since a trial changes seldom and is asked about at every decision."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[TrialView, tuple[int, ...], Standing]] = {}
        self._of: tuple[object, ...] = ()
        self._trials: tuple[TrialView, ...] = ()
        self._places: dict[str, int] = {}
        self._losses = np.empty(0)
        self._costs = np.empty(0)
        self._latest_rungs = np.empty((0, LATEST), dtype=np.int64)
        self._latest_losses = np.empty((0, LATEST))

    def standing(self, history: History, view: TrialView, rungs: tuple[int, ...]) -> Standing:
        """Return what a trial came to at the rungs."""
        kept = self._kept.get(view.trial)
        if kept is not None and kept[0] is view and kept[1] == rungs:
            return kept[2]
        standing = _standing(history, view, rungs)
        self._kept[view.trial] = (view, rungs, standing)
        return standing

    def losses(self, history: History, rungs: tuple[int, ...]) -> np.ndarray:
        """Return the best loss of every trial, by its place in the history; for reading, and before the next call."""
        self._follow(history, rungs)
        return self._losses[: len(history.trials)]

    def usual_cost(self, history: History, rungs: tuple[int, ...]) -> float:
        """Return the median of the predicted costs of an epoch, probes left out."""
        self._follow(history, rungs)
        costs_N = self._costs[: len(history.trials)]
        return float(np.median(costs_N[~np.isnan(costs_N)]))

    def best(
        self, history: History, rungs: tuple[int, ...], count: int, among: Sequence[TrialView] | None = None
    ) -> list[int]:
        """Return the places of the best trials, or of those among some, that have a finite loss, the best first."""
        losses_N = self.losses(history, rungs)
        if among is None:
            places_N = np.flatnonzero(np.isfinite(losses_N))
        else:
            places_N = np.array(sorted(self._places[view.trial] for view in among), dtype=np.int64)
            places_N = places_N[np.isfinite(losses_N[places_N])]
        order_N = np.argsort(losses_N[places_N], kind="stable")[:count]
        return [int(place) for place in places_N[order_N]]

    def gather(
        self, history: History, rungs: tuple[int, ...], encoding: Encoding, prior: Prior | None, *, limit: int
    ) -> Observations | None:
        """Return what trials came to at the rungs; None where that is nothing, or all alike.

        A trial's number is its place in the history. Of more than `limit` observations the best are taken, half of the
        limit, and as many of the rest, evenly through their order.
        """
        self._follow(history, rungs)
        rungs_NL = self._latest_rungs[: len(history.trials)]
        numbers_N, columns_N = np.nonzero(rungs_NL)
        losses_N = self._latest_losses[numbers_N, columns_N]
        if not len(losses_N) or losses_N.min() == losses_N.max():
            return None
        order = thinned(losses_N, limit)
        numbers = numbers_N[order]
        epochs = rungs_NL[numbers, columns_N[order]]
        assignments = [history.trials[number].assignment for number in numbers.tolist()]
        return Observations(
            rows=encoding.encode(assignments),
            trials=numbers,
            epochs=epochs,
            values=scaled(-losses_N)[order],
            expected=np.zeros(len(order))
            if prior is None
            else prior.expected(assignments).after(epochs / history.num_epochs),
        )

    def best_first(self, history: History, rungs: tuple[int, ...]) -> list[TrialView]:
        """Return the trials that came to a rung: those of a higher one first, of each the better first.

        Those with no finite value at some rung come last.
        """
        self._follow(history, rungs)
        rungs_NL = self._latest_rungs[: len(history.trials)]
        places_N = np.flatnonzero(rungs_NL[:, 0])
        columns_N = np.where(rungs_NL[places_N, 1] > 0, 1, 0)
        losses_N = self._latest_losses[places_N, columns_N]
        heights_N = np.where(losses_N == np.inf, np.inf, -rungs_NL[places_N, columns_N])
        order_N = np.lexsort((places_N, losses_N, heights_N))
        return [history.trials[place] for place in places_N[order_N].tolist()]

    def _follow(self, history: History, rungs: tuple[int, ...]) -> None:
        """Take what has changed since the last history."""
        before, after = self._trials, history.trials
        if self._of != (rungs, history.objective):
            before, self._of = (), (rungs, history.objective)
        if len(self._losses) < len(after):
            size = 2 * len(after)
            self._losses, self._costs = _grown(self._losses, size), _grown(self._costs, size)
            self._latest_rungs = _grown(self._latest_rungs, size)
            self._latest_losses = _grown(self._latest_losses, size)
        for place in (*changed(before, after), *range(len(before), len(after))):
            view = after[place]
            standing = self.standing(history, view, rungs)
            self._places[view.trial] = place
            self._losses[place] = standing.loss
            self._costs[place] = view.epoch_cost if view.kind == "trial" else np.nan
            self._latest_rungs[place] = 0
            for column, (rung, loss) in enumerate(standing.latest):
                self._latest_rungs[place, column], self._latest_losses[place, column] = rung, loss
        self._trials = after


def _grown(rows: np.ndarray, size: int) -> np.ndarray:
    """Return a larger array that begins with `rows`."""
    grown = np.zeros((size, *rows.shape[1:]), dtype=rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _standing(history: History, view: TrialView, rungs: tuple[int, ...]) -> Standing:
    if view.kind != "trial" or view.status == "failed":
        return Standing(loss=math.inf, latest=())
    found: list[tuple[int, float]] = []
    for rung in rungs:
        loss = loss_at(history, view, rung)
        if loss is None:
            break
        found.append((rung, loss))
        if loss == math.inf:
            break
    own = loss_at(history, view, view.epoch) if view.values else None
    return Standing(loss=math.inf if own is None else own, latest=tuple(found[-LATEST:]))


def thinned(losses_N: np.ndarray, limit: int) -> np.ndarray:
    """Return the places of at most `limit` losses: half of them the least, the others evenly from the rest."""
    if len(losses_N) <= limit:
        return np.arange(len(losses_N))
    order = np.argsort(losses_N, kind="stable")
    num_best = limit // 2
    rest = order[num_best:]
    even = rest[np.linspace(0, len(rest) - 1, limit - num_best).astype(int)]
    return np.sort(np.concatenate([order[:num_best], even]))


def scaled(values_N: np.ndarray) -> np.ndarray:
    """Return values on a scale with mean 0 and variance 1 that neither outliers nor the unit of the metric bend.

    It is half their normal quantiles, and half how far above the median they lie, up to the best.
    """
    from scipy.special import ndtri

    _, where, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    quantiles_N = ndtri((np.cumsum(counts) - counts / 2)[where] / len(values_N))
    finite_N = np.maximum(values_N, np.min(values_N[np.isfinite(values_N)]))
    middle = np.median(finite_N)
    height = finite_N.max() - middle
    heights_N = np.clip((finite_N - middle) / height, -1.0, 1.0) if height > 0 else np.zeros(len(values_N))
    return standard(standard(quantiles_N) + standard(heights_N))


def standard(values_N: np.ndarray) -> np.ndarray:
    """Return values less their mean, over their standard deviation where there is one."""
    spread = values_N.std()
    return np.asarray((values_N - values_N.mean()) / (spread if spread > 0 else 1.0))
