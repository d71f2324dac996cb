"""Whether the seconds that are left are enough for one more epoch, by what epochs took so far.

Where no clock decides, as in a deterministic search, nothing is known of seconds, and everything is affordable.
"""

from autoft.strategies.base import History, TrialView

TOO_SHORT = "the time left is too short for another epoch"
"""Why a trial stops, or none starts."""


def why_no_epoch(history: History, view: TrialView) -> str | None:
    """Return why `view` trains no other epoch, that would be like those before it; None where there is time for it."""
    if history.budget.seconds is None:
        return None
    if history.time_is_up:
        return "the time is up"
    if view.cost_seconds == 0:
        return None if can_begin(history, view.epoch_cost) else TOO_SHORT
    return None if view.cost_seconds / view.epoch <= _seconds_left(history) else TOO_SHORT


def can_begin(history: History, epoch_cost: float) -> bool:
    """Return whether the first epoch of a new trial is expected to end in time; True while no trial has shown that.

    Args:
        history: What is known.
        epoch_cost: Of the trial, in the units of `costs.epoch_cost`.
    """
    if history.budget.seconds is None:
        return True
    seen = [view for view in history.trials if view.kind == "trial" and view.cost_seconds > 0]
    units = sum(view.epoch * view.epoch_cost for view in seen)
    return not units or epoch_cost * sum(view.cost_seconds for view in seen) / units <= _seconds_left(history)


def without_unaffordable(history: History) -> History:
    """Return `history` with the paused trials that lack the time for an epoch as pruned: nobody can let them go on."""
    if history.budget.seconds is None:
        return history
    out = {view.trial for view in history.paused if why_no_epoch(history, view)}
    if not out:
        return history
    return history.replace(
        trials=tuple(view.replace(status="pruned") if view.trial in out else view for view in history.trials)
    )


def _seconds_left(history: History) -> float:
    return float(history.budget.seconds or 0.0) - history.seconds_reserved - history.seconds_used
