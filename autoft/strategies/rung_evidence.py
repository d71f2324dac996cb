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


def gather(history: History, rungs: tuple[int, ...], *, at_least: int) -> Evidence | None:
    """Return the losses at the highest rung that `at_least` trials have come to, or None where there is none.

    At the lowest rung those that diverged before it are counted too, if one came there. A loss here is a rank, from 0
    for the best: the model reads no more than the order of losses.
    """
    trials = [view for view in history.trials if view.kind == "trial" and view.status != "failed"]
    for place in reversed(range(len(rungs))):
        keys = {view.trial: key for view in trials if (key := _key(history, view, rungs[: place + 1])) is not None}
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


def _key(history: History, view: TrialView, rungs: tuple[int, ...]) -> tuple[int, float] | None:
    """Return how many rungs short of the last of `rungs` a trial ended, and its loss where it ended."""
    for short, rung in enumerate(reversed(rungs)):
        if (loss := loss_at(history, view, rung)) is not None:
            return None if short and view.is_running else (short, loss)
    return None


def said(evidence: Evidence) -> str:
    """Return in words what the model was fitted on."""
    cut = f", {evidence.num_cut} cut or diverged as worse" if evidence.num_cut else ""
    pending = f", {evidence.num_pending} in flight as mediocre" if evidence.num_pending else ""
    return f"TPE on the losses of {evidence.num_came} trials at rung {evidence.rung}{cut}{pending}"
