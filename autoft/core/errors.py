"""The errors a person may see: their mistake (exit 2), or work that failed (exit 1)."""

import difflib
import errno
from collections.abc import Iterable, Iterator

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the system's errors."""


class AutoftError(Exception):
    """The base of every error that autoft raises on purpose; its text is one sentence for a person."""

    exit_code = 1


class UserError(AutoftError, ValueError):
    """A mistake in what was given: says what, where, the value seen, what is allowed, what to do next."""

    exit_code = 2


class ConfigError(UserError):
    """An option or setting that cannot be obeyed."""


class SpaceError(UserError):
    """One or more mistakes in a search space; `problems` holds one sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(UserError):
    """Data that cannot be used as they are."""


class FormatError(UserError):
    """A run, bundle or configuration file that is none, is damaged, or is of a newer format."""


class WeightsError(UserError):
    """Pretrained weights that cannot be had on this machine."""


class WorkError(AutoftError):
    """Work that failed through no mistake of the user's; what was reached is kept."""


class DiskFullError(WorkError):
    """No room on the disk in the middle of the work; what was reached is kept, and goes on once there is room."""


class StorageError(WorkError, OSError):
    """A store that does not answer, or refuses; what was reached is kept, and goes on once it answers again."""


class Interrupted(AutoftError):
    """A search that the person stopped; its state is kept, and its text says so and gives the line that resumes it."""

    exit_code = 130


def first_line(error: object) -> str:
    """Return the first line of what an error says, or the error's type if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the allowed name closest to `name`, or "" when none is close."""
    best = closest(name, allowed)
    return "" if best is None else f" Did you mean '{best}'?"


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest to `name`, or None when none is close.

    Among the close ones the fewest edits win, then the same length: 'adanw' is 'adamw' mistyped rather than 'adan'.
    Capital letters make no difference.
    """
    lowered = {known.lower(): known for known in allowed}
    low = name.lower()
    close = difflib.get_close_matches(low, list(lowered), n=5, cutoff=0.6)
    if not close:
        return None
    return lowered[min(close, key=lambda known: (_num_edits(low, known), abs(len(low) - len(known))))]


def _num_edits(one: str, other: str) -> int:
    """Return how many letters must be put in, taken out or replaced to make `other` of `one` (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above, row = row, [i]
        for j, wanted in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted)))
    return row[-1]


def one_of(names: Iterable[str]) -> str:
    """Return names as "'a', 'b' or 'c'", for the end of an error."""
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that caused it, says that the disk is full."""
    return any(
        (isinstance(cause, OSError) and cause.errno in FULL_DISK) or "No space left on device" in str(cause)
        for cause in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, the nearest first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
