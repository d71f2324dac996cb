"""What a model of configurations alone is fitted on: the losses of one rung."""

import math
import statistics
from dataclasses import dataclass

from autoft.strategies.base import Assignment, History, TrialView
from autoft.strategies.rungs import loss_at

Observation = tuple[Assignment, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the model is fitted on."""

    rung: int
    losses: tuple[Observation, ...]
    """Trials in the order in which they were started, with what they count for; lower is better, all finite."""
    num_came: int
    """Trials that came to the rung with a finite value."""
    num_cut: int
    """Trials that were cut before it or have no finite value, which count as worse than all that came."""
    num_pending: int
    """Trials in flight toward it, which count as mediocre."""


class Losses:
    """What trials count for at each rung; kept, since few trials change between two suggestions."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[TrialView, tuple[int, ...], tuple[float | None, ...]]] = {}

    def of(self, history: History, view: TrialView, rungs: tuple[int, ...]) -> tuple[float | None, ...]:
        """Return the loss at each rung, None where it does not count."""
        kept = self._kept.get(view.trial)
        if kept is not None and kept[0] is view and kept[1] == rungs:
            return kept[2]
        losses = tuple(loss_at(history, view, rung) for rung in rungs)
        self._kept[view.trial] = (view, rungs, losses)
        return losses


def gather(history: History, rungs: tuple[int, ...], *, at_least: int, losses: Losses | None = None) -> Evidence | None:
    """Return the losses at the highest rung that `at_least` trials have come to, or None where there is none.

    At the lowest rung those that diverged before it are counted too, if one came there. A loss here is a rank, from 0
    for the best: the model reads no more than the order of losses.

    Args:
        history: What is known.
        rungs: At which trials are compared.
        at_least: So many trials.
        losses: What was kept of earlier histories of the search.
    """
    reader = losses or Losses()
    trials = [view for view in history.trials if view.kind == "trial" and view.status != "failed"]
    known = [(view, reader.of(history, view, rungs)) for view in trials]
    for place in reversed(range(len(rungs))):
        keys = {view.trial: key for view, own in known if (key := _key(view, own[: place + 1])) is not None}
        came = [key for key in keys.values() if key[0] == 0 and key[1] < math.inf]
        # Where nearly all diverge, what diverged is what there is to learn from.
        if not came or (len(came) if place else len(keys)) < at_least:
            continue
        order = sorted(set(keys.values()), key=lambda key: (key[1] == math.inf, key))
        places = {key: float(number) for number, key in enumerate(order)}
        ranks = {trial: places[key] for trial, key in keys.items()}
        liar = statistics.median(ranks.values())
        pending = [view.trial for view in trials if view.is_running and view.trial not in ranks]
        ranks |= dict.fromkeys(pending, liar)
        return Evidence(
            rung=rungs[place],
            losses=tuple((view.assignment, ranks[view.trial]) for view in trials if view.trial in ranks),
            num_came=len(came),
            num_cut=len(keys) - len(came),
            num_pending=len(pending),
        )
    return None


def _key(view: TrialView, losses: tuple[float | None, ...]) -> tuple[int, float] | None:
    """Return how many rungs short of the last of `losses` a trial ended, and its loss where it ended."""
    for short, loss in enumerate(reversed(losses)):
        if loss is not None:
            return None if short and view.is_running else (short, loss)
    return None


def said(evidence: Evidence) -> str:
    """Return in words what the model was fitted on."""
    cut = f", {evidence.num_cut} cut or diverged as worse" if evidence.num_cut else ""
    pending = f", {evidence.num_pending} in flight as mediocre" if evidence.num_pending else ""
    return f"TPE on the losses of {evidence.num_came} trials at rung {evidence.rung}{cut}{pending}"
