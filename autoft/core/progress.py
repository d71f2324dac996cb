"""What a running search shows: a snapshot, handed to the listener after every event."""

from collections.abc import Callable
from dataclasses import dataclass, field

from autoft.core.configs import Budget
from autoft.core.jsonable import Json

SEARCHING = "searching"
"""The stage in which trials are trained; a search that reached it is kept."""
PREPARING = "Preparing "
"""How a line of a trial's log begins that says how far what comes before its first epoch is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The leading trial so far."""

    trial: str
    column: str
    """The leaderboard's column that ranks, such as val_accuracy."""
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """A search at one moment."""

    stage: str
    """What is being done, in words: "reading the data", "searching", "testing the winner"."""
    line: str = ""
    """The latest event as one line; shown once, when it changes."""
    lasting: bool = False
    """Whether the line is worth reading when the search is over: what the data are, and what is odd about them."""
    seconds_used: float = 0.0
    """Wall clock so far, over all resumes."""
    seconds_left: float | None = None
    """About what the search will still take, from the costs so far; None while nothing is known."""
    budget: Budget = field(default_factory=Budget)
    trials_started: int = 0
    """Without the probes, as the budget counts."""
    trials_running: int = 0
    """Trials and probes in flight."""
    epochs_done: int = 0
    """Over all trials."""
    best: Best | None = None
    rows: tuple[Json, ...] = ()
    """The leading rows of the leaderboard, and those of running trials, by the leaderboard's columns."""
    within_noise: tuple[str, ...] = ()
    """The trials that validation cannot tell from the best, the best among them; none where it is alone."""


Listener = Callable[[Progress], None]
"""Called in the driver, from one thread; it must return quickly."""
