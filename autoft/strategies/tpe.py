"""Tree of Parzen estimators: hyperopt's own, fed with the losses of one rung."""

import math
import statistics
from dataclasses import dataclass, field

from autoft.core.errors import ConfigError
from autoft.core.seeds import derive_seed
from autoft.space import SearchSpace
from autoft.strategies.base import Assignment, History, Suggestion, TrialView
from autoft.strategies.hyperopt_graph import Graph
from autoft.strategies.random import draw, tried
from autoft.strategies.rungs import loss_at

REPEATS = 4
"""Suggestions after which one that was tried before gives way to a random draw."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class TPE:
    """Draw where good configurations are dense and bad ones are not.

    The model compares trials at one rung: the highest that `startup` of them have come to; while there is none the
    space is drawn from. A trial that was cut before that rung is not taken for a finished one: it counts as worse than
    all that came, among its like by the rung where it ended. Trials in flight toward the rung count as mediocre
    (constant liar: the median), those without a finite value as the worst. Draws depend on the seed and on how many
    trials were started, not on the order of results.

    Reference: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; the liar is the constant
    liar of Ginsbourger et al., Kriging Is Well-Suited to Parallelize Optimization, 2010, with the median.
    """

    startup: int = 12
    """Trials at one rung before the model is used."""
    candidates: int = 24
    """Draws from the good density, of which the best by the ratio of the densities is suggested."""
    gamma: float = 0.5
    """ceil(gamma x sqrt(n)) of n trials, at most 25, are the good ones: 3 of 36, where hyperopt's 0.25 takes 2."""
    _graphs: dict[int, tuple[SearchSpace, Graph]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.startup < 1 or self.candidates < 1:
            raise ConfigError("tpe: startup and candidates must be at least 1.")
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"tpe: gamma must be above 0 and at most 1, not {self.gamma!r}.")

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return the model's choice, or a draw while there is too little to fit it on."""
        evidence = gather(history, rungs, at_least=self.startup)
        if evidence is None:
            assignment, _ = draw(history)
            return Suggestion(
                assignment=assignment, reason=f"a random draw: fewer than {self.startup} trials came to rung {rungs[0]}"
            )
        graph = self._graph(history.space)
        known = tried(history)
        for attempt in range(REPEATS):
            assignment = graph.suggest(
                evidence.losses,
                seed=derive_seed(history.seed, "decision", history.num_started, "tpe", attempt),
                candidates=self.candidates,
                gamma=self.gamma,
            )
            if assignment not in known:
                return Suggestion(assignment=assignment, reason=_reason(evidence))
        drawn, is_new = draw(history)
        if is_new:
            return Suggestion(assignment=drawn, reason="a random draw: what TPE suggests was tried already")
        return Suggestion(assignment=assignment, reason=f"{_reason(evidence)}; tried before, as was all that was drawn")

    def _graph(self, space: SearchSpace) -> Graph:
        """Return the space's graph; built once, which changes no suggestion."""
        if id(space) not in self._graphs:
            self._graphs.clear()
            self._graphs[id(space)] = (space, Graph(space))
        return self._graphs[id(space)][1]


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


def _reason(evidence: Evidence) -> str:
    cut = f", {evidence.num_cut} cut or diverged as worse" if evidence.num_cut else ""
    pending = f", {evidence.num_pending} in flight as mediocre" if evidence.num_pending else ""
    return f"TPE on the losses of {evidence.num_came} trials at rung {evidence.rung}{cut}{pending}"
