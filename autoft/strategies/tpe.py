"""Tree of Parzen estimators, in numpy: draw where good configurations are dense and bad ones are not."""

import math
from dataclasses import dataclass, field

import numpy as np

from autoft.core.errors import ConfigError
from autoft.core.seeds import generator
from autoft.space import Choice, Parameter
from autoft.strategies import leaning, ranking
from autoft.strategies.base import Assignment, History, Suggestion
from autoft.strategies.curve_evidence import Reader
from autoft.strategies.encoding import Encoding, is_ordered
from autoft.strategies.parzen import Categories, Density, Numbers
from autoft.strategies.prior import Prior
from autoft.strategies.random import draw, tried
from autoft.strategies.rung_evidence import Evidence, Losses, gather, said

MOST_GOOD = 25
"""Trials that are taken for good at most."""
TRUST = 10.0
"""Trials at which one standard deviation of what earlier searches let expect is worth a factor of e of the ratio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TPE:
    """Draw configurations from the density of the good ones, and suggest that where bad ones are rarest beside it.

    The densities are fitted at one rung: the highest that `startup` trials have come to; while there is none the space
    is drawn from. Trials that were cut before it count as worse than all that came, those in flight toward it as
    mediocre (constant liar: the median), those without a finite value as the worst. Each parameter has densities of
    its own, from the trials where it was active; on the quantiles of the space, so that every value of a range, its
    ends included, has the mass that the space gives it, and a backbone, while few trials have ended, the one that
    `ranking` gives it. Draws depend on the seed, on how many trials were started and on that, not on the order of
    results.

    A search that learns from earlier ones tries what is promising by them until the model is used, and then multiplies
    the ratio by what they let expect, to a power that falls with the number of trials.

    References: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011: l = good, g = bad; the power
    is that of Hvarfner et al., πBO, arXiv:2204.11051.
    """

    startup: int = 12
    """Trials at one rung before the model is used."""
    candidates: int = 24
    """Draws from the good density, of which the best by the ratio of the densities is suggested."""
    gamma: float = 0.5
    """ceil(gamma x sqrt(n)) of n trials, at most 25, are the good ones: 3 of 36."""
    _encodings: list[Encoding] = field(default_factory=list, init=False, repr=False, compare=False)
    _losses: Losses = field(default_factory=Losses, init=False, repr=False, compare=False)
    _reader: Reader = field(default_factory=Reader, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.startup < 1 or self.candidates < 1:
            raise ConfigError("tpe: startup and candidates must be at least 1.")
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"tpe: gamma must be above 0 and at most 1, not {self.gamma!r}.")

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return the model's choice, or a draw while there is too little to fit it on."""
        evidence = gather(history, rungs, at_least=self.startup, losses=self._losses)
        prior = Prior.of(history, own=self._reader.best_first(history, rungs))
        known = tried(history)
        if evidence is None and prior is not None:
            rng = generator(history.seed, "decision", history.num_started)
            new = (one for one in prior.promising(len(known) + 1, rng) if one not in known)
            if (assignment := next(new, None)) is not None:
                return Suggestion(assignment=assignment, reason="among the best by earlier searches")
        if evidence is None:
            weight = leaning.weight_of(history.num_started)
            assignment, _ = draw(history, leaning.sampler(history, self._encoding(history), weight))
            return Suggestion(
                assignment=assignment, reason=f"a random draw: fewer than {self.startup} trials came to rung {rungs[0]}"
            )
        for assignment in self._ranked(history, evidence, prior):
            if assignment not in known and history.space.forbids(assignment) is None:
                return Suggestion(assignment=assignment, reason=said(evidence))
        drawn, is_new = draw(history, ranking.sampler(history))
        if is_new:
            return Suggestion(assignment=drawn, reason="a random draw: what TPE suggests was tried already")
        return Suggestion(assignment=drawn, reason=f"{said(evidence)}; tried before, as was all that was drawn")

    def _ranked(self, history: History, evidence: Evidence, prior: Prior | None) -> list[Assignment]:
        """Return draws from the good density, and what is promising by earlier searches, the best first."""
        order = sorted(evidence.losses, key=lambda observed: observed[1])
        num_good = min(math.ceil(self.gamma * math.sqrt(len(order))), MOST_GOOD)
        encoding = self._encoding(history)
        good, bad = (
            encoding.active_positions([one for one, _ in part]) for part in (order[:num_good], order[num_good:])
        )
        rng = generator(history.seed, "decision", history.num_started, "tpe")
        fitted = [
            (density(one, good_N, ranking.shares(history, one)), density(one, bad_N))
            for one, good_N, bad_N in zip(encoding.parameters, good, bad, strict=True)
        ]
        drawn_PM = np.array([best.draw(self.candidates, rng) for best, _ in fitted])
        assignments = [encoding.decode(positions_P) for positions_P in drawn_PM.T]
        if prior is not None:
            promising = prior.promising(self.candidates, rng)
            drawn_PM = np.hstack([drawn_PM, np.transpose([encoding.positions(one) for one in promising])])
            assignments += promising
        active_PM = np.array([[one.label in drawn for drawn in assignments] for one in encoding.parameters])
        gains_PM = np.array(
            [
                best.log_density(at_M) - worst.log_density(at_M)
                for (best, worst), at_M in zip(fitted, drawn_PM, strict=True)
            ]
        )
        gains_M = (gains_PM * active_PM).sum(0)
        if prior is not None:
            gains_M += TRUST / len(order) * prior.expected(assignments).after(1.0)
        best_first = np.argsort(-gains_M, kind="stable")
        return [assignments[place] for place in best_first]

    def _encoding(self, history: History) -> Encoding:
        """Return the space's encoding; kept, which changes no suggestion."""
        if not self._encodings or self._encodings[0].space is not history.space:
            self._encodings[:] = [Encoding(history.space)]
        return self._encodings[0]


def density(parameter: Parameter, positions_N: np.ndarray, prior_V: np.ndarray | None = None) -> Density:
    """Return the density of a parameter.

    Args:
        parameter: Of the space.
        positions_N: Where it was, in what was seen.
        prior_V: How likely each of its values is before anything was seen; None: as likely as in the space.
    """
    domain = parameter.domain
    if isinstance(domain, Choice) and not is_ordered(domain):
        return Categories.of(domain, positions_N, prior_V)
    return Numbers.around(positions_N)
