"""A search without training: workers that draw epochs from given curves, on a clock of their own."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoft.core.configs import TrialStatus
from autoft.core.errors import WorkError
from autoft.strategies.advance import decided, reported
from autoft.strategies.base import Continue, Decision, Done, History, Start, Strategy, TrialView, Wait

Curve = Callable[[TrialView], Sequence[float | None]]
"""Values of the objective by epoch, of a trial just started; None ends it as diverged, a short one as completed."""
Cost = Callable[[TrialView], float]
"""Seconds of one epoch of a trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulation:
    """What a simulated search did."""

    history: History
    """As it was when the search was done."""
    steps: tuple[tuple[History, Decision], ...]
    """Every decision, with the history that it was taken on."""
    num_epochs: int
    """Epochs over all trials."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, in order."""
        return tuple(decision for _, decision in self.steps)


def simulate(
    strategy: Strategy,
    history: History,
    curve: Curve,
    *,
    cost: Cost = lambda view: 1.0,
    max_steps: int = 100_000,
) -> Simulation:
    """Run a search to its end and return it; the same for equal arguments.

    Args:
        strategy: Is asked after every result.
        history: Where the search stands; trials that run go on with their next epoch.
        curve: Gives the values of each trial.
        cost: Gives the seconds of an epoch of each trial; of two that end together, the one begun earlier is first.
        max_steps: Decisions after which the strategy is taken for one that never ends.

    Raises:
        WorkError: If a decision cannot be, the strategy waits while nothing runs, or never ends.
    """
    workers = _Workers(curve, cost)
    for view in history.running:
        if not view.stands:
            workers.begin(view, history.seconds_used)
    steps: list[tuple[History, Decision]] = []
    while len(steps) < max_steps:
        decision = strategy.next(history)
        steps.append((history, decision))
        history = decided(history, decision)
        if isinstance(decision, Done):
            return Simulation(history=history, steps=tuple(steps), num_epochs=workers.num_epochs)
        if isinstance(decision, Start):
            workers.begin(history.trials[-1], history.seconds_used)
        elif isinstance(decision, Continue):
            workers.begin(history.view(decision.trial), history.seconds_used)
        elif isinstance(decision, Wait):
            history = workers.next_result(history)
    raise WorkError(f"The strategy took {max_steps} decisions and is not done.")


class _Workers:
    """Epochs in flight, on the clock of the history's `seconds_used`."""

    def __init__(self, curve: Curve, cost: Cost) -> None:
        self.num_epochs = 0
        self._curve, self._cost = curve, cost
        self._curves: dict[str, Sequence[float | None]] = {}
        self._flights: list[tuple[float, int, str]] = []
        self._order = itertools.count()

    def begin(self, view: TrialView, clock: float) -> None:
        """Begin the next epoch of a trial."""
        if view.trial not in self._curves:
            self._curves[view.trial] = self._curve(view)
        heapq.heappush(self._flights, (clock + self._cost(view), next(self._order), view.trial))

    def next_result(self, history: History) -> History:
        """Return the history after the epoch that ends next."""
        if not self._flights:
            raise WorkError("The strategy waits while nothing runs.")
        clock, _, trial = heapq.heappop(self._flights)
        self.num_epochs += 1
        view = history.view(trial)
        curve = self._curves[trial]
        value = curve[view.epoch]
        is_short = view.epoch + 1 == len(curve) < history.num_epochs and view.kind == "trial"
        status: TrialStatus = "diverged" if value is None else "completed" if is_short else "running"
        history = reported(history.replace(seconds_used=clock), trial, value, seconds=self._cost(view), status=status)
        view = history.view(trial)
        if view.is_running and not view.stands:
            self.begin(view, clock)
        return history
