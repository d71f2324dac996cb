"""How long a search will still take, from the costs that it has seen; a person reads it, nothing is decided by it."""

from collections.abc import Iterable

from autoft.core.configs import Budget
from autoft.engine.ledger import Entry


def seconds_left(
    entries: Iterable[Entry], *, budget: Budget, seconds_used: float, slots: int, num_probes: int
) -> float | None:
    """Return the seconds that are left, about; None while no trial has shown what it costs, and when none is left.

    What is left are the trials and probes that were not started, at the mean cost of those that gave up their slot, and
    of those that run, what they lack of it. A trial that goes on after a pause costs more than was thought.

    Args:
        entries: All trials so far.
        budget: Of the search.
        seconds_used: So far.
        slots: Trials that run side by side.
        num_probes: Probes that the search makes in all.
    """
    known = list(entries)
    probes, trials = ([entry for entry in known if _is_probe(entry) is kind] for kind in (True, False))
    cost = _mean_seconds(trials)
    if budget.trials is None or cost is None:
        return None
    work = _lacking(trials, cost, budget.trials) + _lacking(probes, _mean_seconds(probes) or 0.0, num_probes)
    if not work:
        return None
    left = work / slots
    return left if budget.seconds is None else max(0.0, min(left, budget.seconds - seconds_used))


def _lacking(entries: list[Entry], cost: float, whole: int) -> float:
    """Return the seconds of work that `whole` trials still need, at `cost` each."""
    running = sum(max(0.0, cost - _seconds(entry)) for entry in entries if entry.view.is_running)
    return running + cost * max(0, whole - len(entries))


def _mean_seconds(entries: list[Entry]) -> float | None:
    own = [entry for entry in entries if entry.epochs and not entry.view.is_running]
    return sum(map(_seconds, own)) / len(own) if own else None


def _seconds(entry: Entry) -> float:
    return sum(result.seconds for result in entry.epochs)


def _is_probe(entry: Entry) -> bool:
    return entry.view.kind == "probe"
