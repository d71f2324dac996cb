"""The trials of a search as the driver knows them, and their order from best to worst."""

from collections import Counter
from dataclasses import dataclass, field

from autoft.core.configs import Budget, EpochResult, SearchConfig, TrialStatus
from autoft.core.jsonable import Json
from autoft.core.metrics import METRICS, Objective
from autoft.record.ranking import OUT
from autoft.space import SearchSpace
from autoft.strategies import History, TrialView


@dataclass(kw_only=True, slots=True)
class Entry:
    """One trial: what strategies see of it, and what they do not."""

    view: TrialView
    config: Json
    """`TrialConfig` as JSON, filled by the worker once it has reported."""
    epochs: list[EpochResult] = field(default_factory=list)
    reason: str = ""
    """Of its status."""
    num_losses: int = 0
    """How often its worker was lost in this run."""
    in_flight: bool = False
    """Whether a worker has it, or will get it."""
    waits_for_promotion: bool = False
    """Whether it was paused by a decision of its scheduler; one that the end of the time paused goes on by itself."""


class Ledger:
    """All trials, in the order in which they were started."""

    def __init__(self, objective: Objective, *, counts_seconds: bool = True) -> None:
        """Hold no trial yet.

        Args:
            objective: Ranks them.
            counts_seconds: Whether strategies see the seconds that epochs took.
        """
        self.objective = objective
        self._counts_seconds = counts_seconds
        self._entries: dict[str, Entry] = {}

    def __getitem__(self, trial: str) -> Entry:
        return self._entries[trial]

    def __contains__(self, trial: object) -> bool:
        return trial in self._entries

    def add(self, entry: Entry) -> None:
        """Add a trial that starts now."""
        self._entries[entry.view.trial] = entry

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every trial."""
        return tuple(self._entries.values())

    @property
    def views(self) -> tuple[TrialView, ...]:
        """Every trial, as strategies see it."""
        return tuple(entry.view for entry in self._entries.values())

    @property
    def num_in_flight(self) -> int:
        """Trials that workers have, or will get."""
        return sum(entry.in_flight for entry in self._entries.values())

    def add_epoch(self, trial: str, result: EpochResult) -> None:
        """Add the next epoch of a trial."""
        entry = self._entries[trial]
        entry.epochs.append(result)
        entry.view = entry.view.replace(
            values=(*entry.view.values, result.metrics.get(self.objective.column)),
            cost_seconds=entry.view.cost_seconds + (result.seconds if self._counts_seconds else 0.0),
        )

    def set_status(self, trial: str, status: TrialStatus, reason: str) -> None:
        """Say what a trial is now."""
        entry = self._entries[trial]
        entry.view = entry.view.replace(status=status)
        entry.reason = reason

    def history(
        self, search: SearchConfig, space: SearchSpace, *, budget: Budget, slots: int, seconds: tuple[float, float]
    ) -> History:
        """Return what a strategy decides on.

        Args:
            search: What was asked for.
            space: Its space.
            budget: As it is now: a resume can raise it.
            slots: Trials that may run side by side.
            seconds: Those used, and those reserved for the work after the last trial.
        """
        return History(
            space=space,
            objective=self.objective,
            budget=budget,
            seed=search.seed,
            trials=self.views,
            slots=slots,
            seconds_used=seconds[0],
            seconds_reserved=seconds[1],
        )

    def best_value(self, trial: str) -> float | None:
        """Return what a trial is ranked by, or None where it cannot be ranked.

        That is its best value; of a cost, which no longer training makes better, the last one that was measured.
        """
        view = self._entries[trial].view
        if view.status in OUT:
            return None
        if METRICS[self.objective.metric].is_cost:
            return next((value for value in reversed(view.values) if value is not None), None)
        return view.best(self.objective)

    def ranking(self, *, finished_only: bool = False) -> list[str]:
        """Return the trials that can win, best first; of equals, the one that was started earlier."""
        valued = [
            (value, trial)
            for trial, entry in self._entries.items()
            if (value := self.best_value(trial)) is not None
            and not (finished_only and entry.view.status in ("running", "paused"))
        ]
        sign = -1 if self.objective.maximize else 1
        return [trial for _, trial in sorted(valued, key=lambda pair: sign * pair[0])]

    def why_none_won(self) -> str:
        """Return, in words, why no trial can win: the commonest reason first."""
        if not self._entries:
            return "No trial was started."
        reasons = Counter(
            entry.reason or f"it ended as {entry.view.status}"
            for entry in self._entries.values()
            if not entry.in_flight
        )
        total = len(self._entries)
        if not any(entry.view.status in OUT for entry in self._entries.values()):
            return f"None of the {total} trials has a finite {self.objective.column}."
        reason, count = reasons.most_common(1)[0]
        return f"All {total} trials failed; the commonest reason ({count} of {total}): {reason}"


def final_status(view: TrialView, last: EpochResult) -> TrialStatus:
    """Return the status of a trial that ended by itself with the epoch `last`."""
    if last.status == "diverged":
        return "diverged"
    return "probe" if view.kind == "probe" else "completed"
