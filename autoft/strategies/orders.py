"""How trials stand at rungs, kept up from one history to the next: few trials change in between."""

from bisect import bisect_left, insort

from autoft.core.metrics import Objective
from autoft.strategies.base import History, TrialView
from autoft.strategies.register import MOST, changed
from autoft.strategies.rungs import loss_at


class Orders:
    """The trials that count at each rung, best first; probes are not compared with trials."""

    def __init__(self) -> None:
        self._objective: Objective | None = None
        self._trials: tuple[TrialView, ...] = ()
        self._orders: dict[int, list[tuple[float, int]]] = {}

    def at(self, history: History, rung: int) -> list[tuple[float, int]]:
        """Return the loss, and the place in the history, of each trial that counts at a rung, best first.

        Of equals the one that was started earlier is first. The list is for reading, and before the next call.
        """
        self._follow(history)
        if rung not in self._orders:
            keys = (_key(history, view, place, rung) for place, view in enumerate(history.trials))
            self._orders[rung] = sorted(key for key in keys if key is not None)
        return self._orders[rung]

    def _follow(self, history: History) -> None:
        before, after = self._trials, history.trials
        moved = changed(before, after)
        if history.objective != self._objective or len(after) < len(before) or len(moved) > MOST:
            self._orders.clear()
        for rung, order in self._orders.items():
            for place in (*moved, *range(len(before), len(after))):
                old = _key(history, before[place], place, rung) if place < len(before) else None
                new = _key(history, after[place], place, rung)
                if old == new:
                    continue
                if old is not None:
                    del order[bisect_left(order, old)]
                if new is not None:
                    insort(order, new)
        self._objective, self._trials = history.objective, after


def _key(history: History, view: TrialView, place: int, rung: int) -> tuple[float, int] | None:
    loss = loss_at(history, view, rung) if view.kind == "trial" else None
    return None if loss is None else (loss, place)
