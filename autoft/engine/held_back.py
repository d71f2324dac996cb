"""What the logical order of answers costs: the seconds of workers that had nothing to do meanwhile."""

from autoft.engine.clock import Clock


class HeldBack:
    """Adds up the seconds of workers: all of them, and those that none used while an answer waited for its turn."""

    def __init__(self, clock: Clock, *, workers: int) -> None:
        """Begin now; `workers` are taken to have been there as long as the search has run before."""
        self._clock = clock
        self._idle_seconds = 0.0
        self._worker_seconds = clock.seconds_used * workers
        self._counted_at = clock.seconds_used

    def count(self, *, workers: int, idle: int) -> None:
        """Count the time since the last call: so many workers were there, and so many of them were held back."""
        now = self._clock.seconds_used
        passed = now - self._counted_at
        self._worker_seconds += passed * workers
        self._idle_seconds += passed * idle
        self._counted_at = now

    @property
    def sentence(self) -> str:
        """What it was, in words."""
        idle, whole = self._idle_seconds, self._worker_seconds
        return f"Keeping the logical order left workers idle for {idle:.1f} of {whole:.1f} s."
