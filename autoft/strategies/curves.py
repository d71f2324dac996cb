"""A surrogate on learning curves that chooses what is started and who goes on by one measure."""

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import numpy as np

from autoft.core.errors import ConfigError
from autoft.core.seeds import generator
from autoft.strategies import leaning
from autoft.strategies.asha import Halving, order_at
from autoft.strategies.base import Assignment, History, Promotion, Suggestion, TrialView, Verdict
from autoft.strategies.candidates import Pool, spread
from autoft.strategies.costs import epoch_cost
from autoft.strategies.curve_evidence import Reader
from autoft.strategies.curve_model import CurveModel, Hyperparameters, Observations, learn
from autoft.strategies.encoding import Encoding
from autoft.strategies.prior import PORTFOLIO, Prior
from autoft.strategies.random import draw, tried
from autoft.strategies.register import changed
from autoft.strategies.rungs import loss_at

LIMIT = 220
"""Observations that the model takes; more cost with their cube."""
LEARNED_ON = 80
"""Observations that the hyperparameters are learned on."""
GROWTH = 1.3
"""Of so many times more trials they are learned again."""
MOST_LEARNED = 512
"""Trials, the first ones, beyond which they are not: with a thousand workers some of those is always training on."""
CONSIDERED = 64
"""Paused trials that are considered, the best ones; what is worse than so many is stopped."""
NUM_BEST = 5
"""Trials, the best ones, near which new configurations are considered."""
DRAWN_EVERY = 5
"""Of so many starts one is a draw: what the model finds hopeless is looked at too, where it may be wrong."""
UNLIKELY = 2.0
"""Standard deviations by which all options fall short of the target, for a horizon to be doubled.

Without earlier searches it is not: what the model makes of a few curves alone says too little of their ends.
"""
NEAREST, FARTHEST = 0.01, 1.0
"""Between them a target lies above the best, in standard deviations of what was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Use:
    """What a slot is best used for: a trial that goes on, or something new."""

    trial: str | None = None
    assignment: Assignment = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves(Halving):
    """Use each free slot for what is likeliest to beat a target soon, be it a new trial or one that is paused.

    A Gaussian process on configuration and curve so far predicts how good every option is after the same cost. That
    cost and the target are drawn for each decision: with little to spend trials that are nearly there win, with much
    new ones do; a near target favours what is sure, a far one what is uncertain. Where earlier searches tell how such
    trials go on, and nothing is likely to pass the target at that cost, it is doubled: late in a search only what is
    trained for long can. At each rung a trial is paused unless it is itself the likeliest. When no new trial will
    start, at each rung no more go on than halving would let. Of `DRAWN_EVERY` new trials one is a draw from the space.

    As a searcher alone it suggests the likeliest new configuration; as a scheduler alone it weighs the paused trials
    against new ones of its own.

    Reference: the choice is MFPI-random of Rakotoarison et al., In-Context Freeze-Thaw Bayesian Optimization,
    arXiv:2404.16795, with the horizon drawn evenly on a logarithmic scale and counted in cost.
    """

    reduction_factor: float = 2.0
    """Rungs lie so many times apart."""
    startup: int = 16
    """Trials, spread over the space, before the model chooses; at most half of the budget's."""
    candidates: int = 128
    """New configurations that are considered, half of them near the best trials."""
    _kept: dict[str, tuple[object, object]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was worked out last, each with what it was worked out from."""
    _then: dict[str, tuple[TrialView, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The trials from which some of it was."""
    _reader: Reader = field(default_factory=Reader, init=False, repr=False, compare=False)
    _costs: dict[tuple[object, ...], float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        Halving.__post_init__(self)
        if self.startup < 1 or self.candidates < 2:
            raise ConfigError("curves: startup must be at least 1 and candidates at least 2.")

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return the likeliest new configuration; while there is too little to learn from, one that fills the space."""
        if history.num_started >= self._num_startup(history):
            if history.num_started % DRAWN_EVERY == DRAWN_EVERY - 1:
                weight = leaning.weight_of(history.num_started // DRAWN_EVERY)
                assignment, _ = draw(history, leaning.sampler(history, self._encoding(history), weight))
                return Suggestion(assignment=assignment, reason=f"one of {DRAWN_EVERY} new trials is a draw")
            before, kept = self._kept.get("use", (None, None))
            use = kept if before is history and isinstance(kept, _Use) else self._best_use(history, rungs, ())
            if use is not None and use.trial is None:
                return Suggestion(assignment=use.assignment, reason=use.words)
        assignment = spread(history, self._encoding(history), self._num_startup(history))
        if assignment in tried(history):
            assignment, _ = draw(history)
        return Suggestion(assignment=assignment, reason="spread over the space, with too little to learn from")

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view` is itself the best use of its slot; if not, it is paused."""
        if loss_at(history, view, view.epoch) == math.inf:
            return Verdict(action="stop", reason=f"no finite value up to rung {view.epoch}")
        if not self._has_opened(history):
            return Verdict(action="pause", reason=f"at rung {view.epoch} it waits for those it is compared with")
        rungs = self.rungs(history.num_epochs)
        use = self._best_use(history, rungs, (*history.paused, view), standing=view)
        if use is not None and use.trial == view.trial:
            return Verdict(action="continue", reason=use.words)
        loss = self._reader.standing(history, view, rungs).loss
        num_better = sum(self._reader.standing(history, one, rungs).loss < loss for one in history.paused)
        is_default = view.trial == next(one.trial for one in history.trials if one.kind == "trial")
        if num_better >= CONSIDERED and not is_default:
            return Verdict(action="stop", reason=f"{num_better} better trials are paused already at rung {view.epoch}")
        other = "something new" if use is None or use.trial is None else f"trial {use.trial}"
        return Verdict(action="pause", reason=f"at rung {view.epoch} {other} is the better use of its slot")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return the paused trial that is the best use of a free slot; None where something new is."""
        rungs = self.rungs(history.num_epochs)
        if is_last_call:
            left = self._left(history, rungs)
            use = self._best_use(history, rungs, left, may_be_new=False)
            if use is None and left:
                return Promotion(trial=left[0].trial, reason=f"the best of those that are paused at {left[0].epoch}")
        else:
            use = self._best_use(history, rungs, history.paused) if self._has_opened(history) else None
        self._kept["use"] = (history, use)
        return None if use is None or use.trial is None else Promotion(trial=use.trial, reason=use.words)

    def _num_startup(self, history: History) -> int:
        wanted = self.startup if history.evidence is None else 1 + PORTFOLIO
        trials = history.budget.trials
        return wanted if trials is None else min(wanted, max(1, trials // 2))

    def _has_opened(self, history: History) -> bool:
        """Return whether so many trials came to the first rung, or ended, that the model chooses."""
        first = self.rungs(history.num_epochs)[0]
        came = (
            view
            for view in history.trials
            if view.kind == "trial" and (view.epoch >= first or view.status not in ("running", "paused"))
        )
        count = self._num_startup(history)
        return sum(1 for _ in islice(came, count)) == count

    def _left(self, history: History, rungs: tuple[int, ...]) -> tuple[TrialView, ...]:
        """Return the paused trials that may go on when nothing new starts, the best of each rung first.

        What the end of the time paused between two rungs had been let on already.
        """
        found = [view for view in history.paused if view.epoch not in rungs]
        for rung in rungs[:-1]:
            order = order_at(history, rung, self._orders)
            allowed = max(1, math.floor(len(order) / self.reduction_factor))
            allowed -= sum(view.epoch > rung or view.is_running for view in order)
            paused = [view for view in order if view.status == "paused" and view.epoch == rung]
            found += paused[: max(0, allowed)]
        return tuple(found)

    def _best_use(
        self,
        history: History,
        rungs: tuple[int, ...],
        options: tuple[TrialView, ...],
        *,
        standing: TrialView | None = None,
        may_be_new: bool = True,
    ) -> _Use | None:
        """Return the best use of a slot, or None where nothing can be learned or chosen.

        Args:
            history: What is known.
            rungs: At which trials are compared, and to which they go on.
            options: Trials that may go on.
            standing: That of them which has the slot.
            may_be_new: Whether something new may be chosen.
        """
        others = history.num_running - (standing is not None)
        considered = self._reader.best(history, rungs, CONSIDERED, among=options)
        # What is paused or stopped by a verdict is asked about again at once, with all else the same.
        asked = (history.space, history.budget, history.objective, history.seed, rungs, others, may_be_new, considered)
        are_as_then = self._are_as_then("best use", history.trials)
        known, use = self._kept.get("best use", (None, None))
        if known != asked or not are_as_then:
            use = self._find(history, rungs, considered, others=others, may_be_new=may_be_new)
            self._kept["best use"] = (asked, use)
        return use if isinstance(use, _Use) else None

    def _find(
        self,
        history: History,
        rungs: tuple[int, ...],
        numbers: list[int],
        *,
        others: int,
        may_be_new: bool,
    ) -> _Use | None:
        encoding, prior = self._encoding(history), self._prior(history, rungs)
        seen = self._reader.gather(history, rungs, encoding, prior, limit=LIMIT)
        if seen is None or not (numbers or may_be_new):
            return None
        rng = generator(history.seed, "curves", history.num_started, history.num_trained, others)
        horizon = rungs[0] * (history.num_epochs / rungs[0]) ** rng.random()
        target = float(seen.values.max()) + NEAREST * (FARTHEST / NEAREST) ** rng.random()
        fresh = self._fresh(history, rungs, prior, rng) if may_be_new else []
        views = [history.trials[number] for number in numbers]
        assignments = [*(view.assignment for view in views), *fresh]
        costs = np.array([*(view.epoch_cost for view in views), *(self._cost(history, one) for one in fresh)])
        usual = self._reader.usual_cost(history, rungs)
        reached = np.array([*(view.epoch for view in views), *([0] * len(fresh))])
        trials_M = np.array([*numbers, *([-1] * len(fresh))])
        model = self._model(history, rungs, seen, encoding).options(encoding.encode(assignments), trials_M)
        expected = None if prior is None else prior.expected(assignments)
        while True:
            until_M = np.minimum(reached + np.maximum(1, np.round(horizon * usual / costs)), history.num_epochs)
            progress_M = until_M / history.num_epochs
            expected_M = np.zeros(len(assignments)) if expected is None else expected.after(progress_M)
            means_M, deviations_M = model.predict(until_M, expected_M)
            short_M = (target - means_M) / deviations_M
            if expected is None or short_M.min() <= UNLIKELY or horizon == history.num_epochs:
                break
            horizon = min(2 * horizon, history.num_epochs)
        words = f"of {len(assignments)} options the likeliest to pass the best within {horizon:.0f} usual epochs"
        known = tried(history)
        for best in np.argsort(short_M, kind="stable"):
            if best < len(views):
                return _Use(trial=views[best].trial, words=words)
            if assignments[best] not in known:
                return _Use(assignment=assignments[best], words=words)
        return None

    def _fresh(
        self, history: History, rungs: tuple[int, ...], prior: Prior | None, rng: np.random.Generator
    ) -> list[Assignment]:
        """Return new configurations: half of them near the best trials, the others what is promising, or draws."""
        best = [history.trials[place] for place in self._reader.best(history, rungs, NUM_BEST)]
        pool = self._pool(history)
        near = pool.changes(history, best, self.candidates // 2)
        far = self.candidates - len(near)
        return [*(pool.draws(history, far) if prior is None else prior.promising(far, rng)), *near]

    def _prior(self, history: History, rungs: tuple[int, ...]) -> Prior | None:
        return Prior.of(history, own=self._reader.best_first(history, rungs))

    def _cost(self, history: History, assignment: Assignment) -> float:
        """Return the predicted cost of an epoch; kept for what has the same choices and whole numbers."""
        key = tuple(item for item in assignment.items() if not isinstance(item[1], float))
        if key not in self._costs:
            self._costs[key] = epoch_cost(history.space.recipe(assignment))
        return self._costs[key]

    def _encoding(self, history: History) -> Encoding:
        """Return the space's encoding; kept, which changes no decision."""
        space, encoding = self._kept.get("encoding", (None, None))
        if space is not history.space or not isinstance(encoding, Encoding):
            encoding = Encoding(history.space)
            self._kept["encoding"] = (history.space, encoding)
            self._kept["pool"] = (history.space, Pool(encoding))
        return encoding

    def _pool(self, history: History) -> Pool:
        """Return what new configurations come from; kept, which changes no decision."""
        self._encoding(history)
        return cast(Pool, self._kept["pool"][1])

    def _model(self, history: History, rungs: tuple[int, ...], seen: Observations, encoding: Encoding) -> CurveModel:
        """Return the model of what was seen.

        Its hyperparameters are learned of the first trials alone, of more only when there are `GROWTH` times as many:
        so they stay the same over many decisions, and keeping them, which changes no decision, saves the work.
        """
        count = len(history.trials)
        early = history.trials[: min(MOST_LEARNED, int(GROWTH ** math.floor(math.log(count, GROWTH))))]
        learned_of = (history.space, history.objective, history.evidence, rungs)
        are_as_then = self._are_as_then("hyperparameters", early)
        known, hyperparameters = self._kept.get("hyperparameters", (None, None))
        if known != learned_of or not are_as_then or not isinstance(hyperparameters, Hyperparameters):
            then = history.replace(trials=early)
            few = self._reader.gather(then, rungs, encoding, self._prior(then, rungs), limit=LEARNED_ON) or seen
            hyperparameters = learn(few, encoding.groups_C)
            self._kept["hyperparameters"] = (learned_of, hyperparameters)
        return CurveModel(seen, encoding.groups_C, hyperparameters)

    def _are_as_then(self, what: str, trials: tuple[TrialView, ...]) -> bool:
        """Return whether trials have come as far as those that `what` was last made of; from now on these are."""
        then = self._then.get(what, ())
        self._then[what] = trials
        return len(then) == len(trials) and all(
            then[place].assignment == trials[place].assignment
            and then[place].values == trials[place].values
            and (then[place].status == "failed") == (trials[place].status == "failed")
            for place in changed(then, trials)
        )
