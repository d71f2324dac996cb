"""The wall clock of a search, added up over resumes, and what of its budget the last work will need."""

import time
from collections.abc import Callable

from autoft.core.configs import Budget, EpochResult

START_SECONDS = 1.0
"""Of the last work, what does not depend on the data: the trip to a worker, writing the bundle."""
SLACK = 1.5
"""Times the longest evaluation so far that the final test is given."""
LARGEST_SHARE = 0.25
"""Of the budget, the most that is reserved: a search that only tests is none."""


class Clock:
    """Counts the seconds of a search."""

    def __init__(
        self, *, seconds_before: float, budget: Budget, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Start counting.

        Args:
            seconds_before: What was used before: by earlier runs of this search, and by this run's set-up.
            budget: Of the search.
            monotonic: The clock that is read.
        """
        self._monotonic = monotonic
        self._started = monotonic() - seconds_before
        self._limit = budget.seconds
        self._evaluation = 0.0

    @property
    def seconds_used(self) -> float:
        """Seconds so far."""
        return self._monotonic() - self._started

    @property
    def seconds_reserved(self) -> float:
        """What the final test is expected to take: it reads, encodes and evaluates rows as an evaluation does."""
        if self._limit is None:
            return 0.0
        return min(START_SECONDS + SLACK * self._evaluation, LARGEST_SHARE * self._limit)

    @property
    def time_is_up(self) -> bool:
        """Whether the budget, less what is reserved, is used."""
        return self._limit is not None and self.seconds_used + self.seconds_reserved >= self._limit

    @property
    def is_over(self) -> bool:
        """Whether the whole budget is used."""
        return self._limit is not None and self.seconds_used >= self._limit

    def observe(self, result: EpochResult) -> None:
        """Learn from an epoch what an evaluation takes."""
        self._evaluation = max(self._evaluation, float(result.timings.get("evaluate") or 0.0))
