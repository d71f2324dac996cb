"""Every decision with its reason, as lines for a person."""

from collections.abc import Iterator

from autoft.core.errors import ConfigError, nearest
from autoft.record.model import Decision, Record


def lines(record: Record, trial: str | None = None) -> Iterator[str]:
    """Yield one line a decision: its number, the time since the search began, what, whom, until when, and why.

    Args:
        record: What has happened.
        trial: Only the decisions about this trial, and at the end how it stands.

    Raises:
        ConfigError: If there is no such trial.
    """
    if trial is not None and trial not in record.by_name:
        names = list(record.by_name)
        known = f" It has {names[0]} to {names[-1]}." if names else " It has none yet."
        raise ConfigError(f"There is no trial '{trial}' in this run.{nearest(trial, names)}{known}")
    start = _start(record)
    width = len(str(max((decision.number for decision in record.decisions), default=0)))
    for decision in record.decisions:
        if trial is None or decision.trial == trial:
            yield _line(decision, start, width)
    if trial is not None:
        row = record.by_name[trial]
        yield f"{trial} is {row.status}" + (f": {row.reason}" if row.reason else "")


def _start(record: Record) -> float:
    times = [search["time"] for search in record.searches[:1]]
    return float(times[0] if times else record.decisions[0].time if record.decisions else 0)


def _line(decision: Decision, start: float, width: int) -> str:
    minutes, seconds = divmod(max(0, round(decision.time - start)), 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    what = " ".join(filter(None, (f"{decision.action:<8}", f"{decision.trial or '':<5}")))
    until = f"until epoch {decision.until_epoch}" if decision.until_epoch is not None else ""
    reason = " ".join(decision.reason.split())
    return f"{decision.number:>{width}}  {clock}  {what}  {until:<15}  {reason}".rstrip()
