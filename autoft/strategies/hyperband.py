"""Hyperband: asynchronous successive halving with several first rungs side by side."""

import math
from dataclasses import dataclass

from autoft.strategies.asha import Asha, Halving
from autoft.strategies.base import History, Promotion, TrialView, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperband(Halving):
    """Give each trial one of several brackets, which differ in their first rung, and halve within the bracket.

    So no one guess of how early a trial shows what it will be decides. There is a bracket for every rung, the full
    length included; each takes trials in the proportion in which Hyperband starts them, spread evenly over the search.

    Reference: Li et al., Hyperband, JMLR 2018: eta = `reduction_factor`; asynchronous as in arXiv:1810.05934.
    """

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view` is among the best of its bracket, if the rung is one of the bracket's."""
        brackets = self.brackets(history)
        own = brackets[view.trial]
        rungs = self.rungs(history.num_epochs)
        if view.epoch < rungs[own]:
            return Verdict(action="continue", reason=f"bracket {own + 1} of {len(rungs)} begins at rung {rungs[own]}")
        among = tuple(one for one in history.trials if brackets.get(one.trial) == own)
        verdict = Asha(grace=self.grace, reduction_factor=self.reduction_factor).judge(
            history.replace(trials=among), view
        )
        return Verdict(action=verdict.action, reason=f"in bracket {own + 1} of {len(rungs)}, {verdict.reason}")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return None: it pauses no trial."""
        return None

    def brackets(self, history: History) -> dict[str, int]:
        """Return the bracket of each trial, probes left out: the one that is farthest behind its share."""
        num = len(self.rungs(history.num_epochs))
        weights = [math.ceil(num / (num - place) * self.reduction_factor ** (num - 1 - place)) for place in range(num)]
        total = sum(weights)
        counts = [0] * num
        found: dict[str, int] = {}
        for number, view in enumerate((one for one in history.trials if one.kind == "trial"), start=1):
            bracket = max(range(num), key=lambda place: weights[place] * number / total - counts[place])
            counts[bracket] += 1
            found[view.trial] = bracket
        return found
