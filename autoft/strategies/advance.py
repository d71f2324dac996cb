"""How a history moves on: by a decision, and by a result."""

from autoft.core.configs import TrialStatus
from autoft.core.errors import WorkError
from autoft.strategies.affordable import why_no_epoch
from autoft.strategies.base import Continue, Decision, Done, History, Pause, Start, TrialView, Wait
from autoft.strategies.finalists import name_of, searching


def trial_name(history: History, start: Start) -> str:
    """Return the name of a trial that starts: p01, p02, ...; t0001, t0002, ...; t0001-s2, its second seed."""
    if start.confirms is not None:
        return name_of(start.confirms, sum(view.confirms == start.confirms for view in history.trials) + 2)
    return f"p{history.num_probes + 1:02d}" if start.kind == "probe" else f"t{history.num_started + 1:04d}"


def decided(history: History, decision: Decision) -> History:
    """Return the history after a decision.

    Raises:
        WorkError: If the decision cannot be: it starts beyond the slots, or names a trial that is in flight or ended.
    """
    if isinstance(decision, Wait | Done):
        return history
    if isinstance(decision, Start):
        _require_slot(history)
        view = TrialView(
            trial=trial_name(history, decision),
            kind=decision.kind,
            assignment=decision.assignment,
            until_epoch=decision.until_epoch,
            epoch_cost=decision.epoch_cost,
            confirms=decision.confirms,
        )
        return history.replace(trials=(*history.trials, view))
    view = history.view(decision.trial)
    is_paused = view.status == "paused" and not isinstance(decision, Pause)
    if not (view.stands or is_paused):
        raise WorkError(f"A decision on trial {view.trial}, which neither stands at the end of an epoch nor is paused.")
    if isinstance(decision, Pause):
        return _with(history, view, status="paused")
    if isinstance(decision, Continue):
        if is_paused:
            _require_slot(history)
        if not view.epoch < decision.until_epoch <= history.num_epochs:
            raise WorkError(
                f"Trial {view.trial} stands at epoch {view.epoch} and was sent to {decision.until_epoch}, "
                f"beyond {history.num_epochs} or behind it."
            )
        return _with(history, view, until_epoch=decision.until_epoch, status="running")
    return _with(history, view, status=stopped_status(history, view))


def stopped_status(history: History, view: TrialView) -> TrialStatus:
    """Return what a stopped trial is: a probe, completed if it has all its epochs, paused for want of time, or pruned.

    One that confirms has all its epochs when it has those of the trial that it repeats. A paused trial may be taken up
    again, by a resume with more seconds.
    """
    if view.kind == "probe":
        return "probe"
    if view.confirms is not None:
        if view.epoch >= history.view(view.confirms).epoch:
            return "completed"
        return _unfinished(history, view)
    if view.epoch >= history.num_epochs:
        return "completed"
    return _unfinished(searching(history), view)


def _unfinished(history: History, view: TrialView) -> TrialStatus:
    return "pruned" if why_no_epoch(history, view) is None else "paused"


def reported(
    history: History, trial: str, value: float | None, *, seconds: float, status: TrialStatus = "running"
) -> History:
    """Return the history after one more epoch of a trial.

    Args:
        history: The trial runs, and has not reached its `until_epoch`.
        trial: Its name.
        value: The objective after the epoch; None: not finite.
        seconds: Wall clock of the epoch.
        status: Other than `running` if the trial ended by itself.

    Raises:
        WorkError: If the trial does not run, or was not allowed this epoch.
    """
    view = history.view(trial)
    if not view.is_running or view.stands:
        raise WorkError(f"Trial {trial} reported an epoch that no decision allowed it.")
    return _with(history, view, values=(*view.values, value), cost_seconds=view.cost_seconds + seconds, status=status)


def _require_slot(history: History) -> None:
    if len(history.running) >= history.slots:
        raise WorkError(f"A trial was started while all {history.slots} slots were taken.")


def _with(history: History, view: TrialView, **changes: object) -> History:
    changed = view.replace(**changes)
    return history.replace(trials=tuple(changed if old is view else old for old in history.trials))
