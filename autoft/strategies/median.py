"""The median stopping rule, as a pure function of the history."""

import math
from dataclasses import dataclass

from autoft.core.errors import ConfigError
from autoft.strategies.asha import default_grace, order_at
from autoft.strategies.base import History, Promotion, TrialView, Verdict
from autoft.strategies.rungs import loss_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Median:
    """Stop a trial at the end of an epoch if its best so far is worse than the median of what others had there.

    Nothing is stopped while fewer than `fewest` others came so far.

    Reference: Golovin et al., Google Vizier, KDD 2017, section 3.2.1; the others' best stands for their running mean.
    """

    grace: int | None = None
    """Epochs that every trial may train; None: by `default_grace`."""
    fewest: int = 3
    """Other trials that the median needs."""

    def __post_init__(self) -> None:
        if self.grace is not None and self.grace < 1:
            raise ConfigError(f"median: grace must be at least 1 epoch, not {self.grace!r}.")
        if self.fewest < 1:
            raise ConfigError(f"median: fewest must be at least 1, not {self.fewest!r}.")

    def rungs(self, num_epochs: int) -> tuple[int, ...]:
        """Return every epoch from grace on."""
        grace = self.grace or default_grace(num_epochs)
        return (*range(min(grace, num_epochs), num_epochs), num_epochs)

    def judge(self, history: History, view: TrialView) -> Verdict:
        """Return whether `view` is no worse than the median of the others."""
        rung = view.epoch
        own = loss_at(history, view, rung)
        if own is None or own == math.inf:
            return Verdict(action="stop", reason=f"no finite value up to epoch {rung}")
        others = [
            loss
            for one in order_at(history, rung)
            if one.trial != view.trial and (loss := loss_at(history, one, rung)) is not None
        ]
        if len(others) < self.fewest:
            return Verdict(action="continue", reason=f"only {len(others)} others came to epoch {rung}")
        median = others[(len(others) - 1) // 2] / 2 + others[len(others) // 2] / 2
        if own <= median:
            return Verdict(
                action="continue", reason=f"no worse than the median of {len(others)} others at epoch {rung}"
            )
        return Verdict(action="stop", reason=f"worse than the median of {len(others)} others at epoch {rung}")

    def promote(self, history: History, *, is_last_call: bool) -> Promotion | None:
        """Return None: it pauses no trial."""
        return None
