"""The confirmation of a search: what of the budget it needs, and who trains again with which seed."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from autoft.record.choosing import num_finalists
from autoft.record.pareto import by_front
from autoft.strategies.affordable import why_no_epoch
from autoft.strategies.base import Continue, Decision, Done, History, Start, Stop, TrialView, Wait
from autoft.strategies.trade_off import TRADE_OFF

SLACK = 1.25
"""Times what a training took that is kept for another of it."""
LARGEST_SHARE = 0.5
"""Of the trials that it has not taken yet, and of the time, the most that is kept for the confirmation."""
OUT = ("diverged", "failed")


def finalists(history: History) -> list[TrialView]:
    """Return the leading trials and probes, best first; of equals, the one that was started earlier.

    By several metrics these are the front, and where it is small, those that follow it; see `choosing`.
    """
    able = _able(history)
    if history.objective == TRADE_OFF:
        order, count = _front(history, able)
        return [able[place] for place in order[:count]]
    worst = -math.inf if history.objective.maximize else math.inf

    def value(view: TrialView) -> float:
        best = view.best(history.objective)
        return worst if best is None else best

    return sorted(able, key=value, reverse=history.objective.maximize)[: history.num_finalists]


def _able(history: History) -> list[TrialView]:
    """Return the trials and probes that may be finalists."""
    return [
        view
        for view in history.trials
        if view.kind != "confirm" and view.status not in OUT and view.values and view.values[-1] is not None
    ]


def _front(history: History, able: Sequence[TrialView]) -> tuple[list[int], int]:
    """Return the positions of trials by several metrics, best first, and how many are finalists."""
    order, found = by_front(np.array([view.point for view in able], dtype=np.float64)) if able else ([], [])
    return order, num_finalists(found, history.num_finalists)


def _num_finalists(history: History) -> int:
    """Return how many finalists there are, once there are as many trials."""
    return _front(history, _able(history))[1] if history.objective == TRADE_OFF else history.num_finalists


def kept_trials(history: History) -> int:
    """Return how many trials of the budget are not the search's: those that confirm, started and to come.

    As many are to come as all finalists may need, at most half of what is left beside those that were started. Toward
    the end, less may do: another trial is the search's if, whatever becomes of it and of those under way, the trainings
    that are due then fit into the budget.
    """
    if history.budget.trials is None:
        return 0
    started = history.num_confirming
    left = history.budget.trials - started
    to_come = min(history.confirm * _num_finalists(history), math.floor(LARGEST_SHARE * left))
    left -= history.num_started
    if left > to_come:
        return started + to_come
    under_way = sum(view.kind == "trial" for view in (*history.running, *history.paused))
    may_be_due = sum(1 for _ in _due(history)) + history.confirm * under_way
    return started + left - max(0, (left - may_be_due) // (1 + history.confirm))


def kept_seconds(history: History) -> float:
    """Return the seconds that are kept for what is left of the confirmation: at most half of those of the budget.

    Once all is confirmed, they are what another finalist would need. They include the longest epoch so far: when the
    search ends, one may still be in flight.
    """
    limit = history.budget.seconds
    if limit is None:
        return 0.0
    needed = [SLACK * training_seconds(history, view) for view, _ in _due(history)]
    if not needed and history.num_confirming:
        most = max((training_seconds(history, view) for view in finalists(history)), default=0.0)
        needed = [SLACK * most] * history.confirm
    if not needed:
        return 0.0
    longest = max(view.cost_seconds / view.epoch for view in history.trials if view.epoch)
    whole = longest + max(*needed, sum(needed) / history.slots)
    return min(whole, LARGEST_SHARE * (limit - history.seconds_reserved))


def training_seconds(history: History, view: TrialView) -> float:
    """Return what a trial's training took.

    Where no seconds were seen, since nothing measured decides, it is its share, by predicted cost, of the time so far.
    """
    if view.cost_seconds > 0:
        return view.cost_seconds
    whole = sum(one.epoch * one.epoch_cost for one in history.trials)
    return history.seconds_used * history.slots * view.epoch * view.epoch_cost / whole if whole else 0.0


def searching(history: History) -> History:
    """Return what the search itself may know: no trial that confirms, and a budget less what is kept for these."""
    if not history.confirm:
        return history
    budget = history.budget
    if budget.trials is not None:
        budget = dataclasses.replace(budget, trials=budget.trials - kept_trials(history))
    confirming = [view for view in history.running if view.kind == "confirm"]
    return history.replace(
        budget=budget,
        trials=tuple(view for view in history.trials if view.kind != "confirm")
        if history.num_confirming
        else history.trials,
        slots=max(1, history.slots - len(confirming)),
        seconds_reserved=history.seconds_reserved + kept_seconds(history),
        confirm=0,
    )


def is_confirming(history: History) -> bool:
    """Return whether the confirmation has begun and is not done: then the search does not go on.

    By a number of trials the search knows that it is over. Between two trainings that confirm it would have time again:
    what the first took less than was kept for it.
    """
    if history.running:
        return all(view.kind == "confirm" for view in history.running)
    last = history.trials[-1].confirms if history.trials else None
    if history.budget.seconds is None or last is None:
        return False
    return any(view.trial == last for view in finalists(history)) and next(_due(history), None) is not None


def is_open(history: History) -> bool:
    """Return whether what confirms was interrupted, or cut short: a search that is taken up goes on with it first."""
    unfinished = any(view.kind == "confirm" for view in (*history.running, *history.paused))
    return unfinished or is_confirming(history)


def judge(history: History, view: TrialView) -> Decision:
    """Return what becomes of a trial that confirms and stands: it trains as long as the one that it repeats did."""
    confirmed = history.view(str(view.confirms))
    if view.epoch >= confirmed.epoch:
        return Stop(trial=view.trial, reason=f"it has trained as long as {confirmed.trial}")
    if why_not := why_no_epoch(history, view):
        return Stop(trial=view.trial, reason=why_not)
    return Continue(
        trial=view.trial,
        until_epoch=_granted(history, confirmed, view.epoch),
        reason=f"on its way to epoch {confirmed.epoch}, where {confirmed.trial} ended",
    )


def confirm(history: History, *, over: str) -> Decision:
    """Return the next step of the confirmation of a search that is over.

    Args:
        history: No trial of the search itself runs.
        over: Why the search is over.
    """
    running = len(history.running)
    done, whole = _num_done(history), history.confirm * sum(view.kind == "trial" for view in finalists(history))
    so_far = f"{over}; {done} of {whole} trainings with other seeds are done"
    if running >= history.slots:
        return Wait(reason=f"{so_far}, and all {history.slots} slots are taken")
    due = next(_due(history), None)
    if due is None:
        return _end(running, so_far)
    view, number = due
    trials, limit = history.budget.trials, history.budget.seconds
    if trials is not None and history.num_started + history.num_confirming >= trials:
        return _end(running, f"{so_far}, and all {trials} trials of the budget were started")
    if limit is not None:
        left = limit - history.seconds_reserved - history.seconds_used
        if left <= training_seconds(history, view):
            return _end(running, f"{so_far}, and the time left is too short for another")
    return Start(
        assignment=view.assignment,
        kind="confirm",
        until_epoch=_granted(history, view, 0),
        reason=f"{view.trial} is a finalist: it is trained again with seed {number} of {history.confirm + 1}",
        recipe=history.space.recipe(view.assignment),
        epoch_cost=view.epoch_cost,
        confirms=view.trial,
    )


def name_of(confirms: str, number: int) -> str:
    """Return the name of the training of `confirms` with its seed `number`, of which its own is the first."""
    return f"{confirms}-s{number}"


def _due(history: History) -> Iterator[tuple[TrialView, int]]:
    """Yield the trainings that were not started, seed by seed, the best finalist first; a probe has no seed."""
    known = {view.trial for view in history.trials}
    own = [view for view in finalists(history) if view.kind == "trial"]
    for number in range(2, history.confirm + 2):
        for view in own:
            if name_of(view.trial, number) not in known:
                yield view, number


def _num_done(history: History) -> int:
    names = {view.trial for view in finalists(history)}
    return sum(view.confirms in names and view.status in ("completed", "diverged") for view in history.trials)


def _granted(history: History, confirmed: TrialView, epoch: int) -> int:
    return epoch + 1 if history.budget.seconds is not None else confirmed.epoch


def _end(running: int, reason: str) -> Decision:
    return Wait(reason=f"{reason}; {running} still in flight") if running else Done(reason=reason)
