"""Who of the trials runs, stands or is paused: asked at every decision, so it is kept up rather than found anew."""

import operator
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autoft.strategies.base import TrialView

MOST = 64
"""Trials that change at once beyond which all are looked at anew."""


def changed(before: Sequence["TrialView"], after: Sequence["TrialView"]) -> list[int]:
    """Return the places, common to both, of the trials that are not the same objects."""
    return list(compress(range(min(len(before), len(after))), map(operator.is_not, before, after)))


class Register:
    """The places, in the order in which they were started, of the trials of each state; and counts."""

    def __init__(self) -> None:
        self.trials: tuple[TrialView, ...] = ()
        """Those that all of this is about."""
        self._clear()

    def _clear(self) -> None:
        self.running: list[int] = []
        self.standing: list[int] = []
        self.paused: list[int] = []
        self.probes: list[int] = []
        self.kinds: Counter[str] = Counter()
        self.num_begun = 0
        """Trials, probes and those that confirm left out, that have trained an epoch."""
        self.num_epochs = 0
        """Trained so far, over all trials."""

    def follow(self, trials: tuple["TrialView", ...]) -> None:
        """Take what the trials are now."""
        before, moved = self.trials, changed(self.trials, trials)
        if len(moved) > MOST or len(trials) < len(before):
            self._clear()
            before, moved = (), []
        for place in moved:
            self._drop(place, before[place])
            self._add(place, trials[place])
        for place in range(len(before), len(trials)):
            self._add(place, trials[place])
        self.trials = trials

    def _add(self, place: int, view: "TrialView") -> None:
        for places in self._of(view):
            insort(places, place)
        self.kinds[view.kind] += 1
        self.num_begun += _has_begun(view)
        self.num_epochs += view.epoch

    def _drop(self, place: int, view: "TrialView") -> None:
        for places in self._of(view):
            del places[bisect_left(places, place)]
        self.kinds[view.kind] -= 1
        self.num_begun -= _has_begun(view)
        self.num_epochs -= view.epoch

    def _of(self, view: "TrialView") -> list[list[int]]:
        found = [self.probes] if view.kind == "probe" else []
        if view.is_running:
            found += [self.running, self.standing] if view.stands else [self.running]
        elif view.status == "paused":
            found.append(self.paused)
        return found


def _has_begun(view: "TrialView") -> bool:
    return view.kind == "trial" and view.epoch > 0
