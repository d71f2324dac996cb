"""Tree of Parzen estimators: hyperopt's own, fed with the losses of one rung."""

from dataclasses import dataclass, field

from autoft.core.errors import ConfigError
from autoft.core.seeds import derive_seed
from autoft.space import SearchSpace
from autoft.strategies.base import History, Suggestion
from autoft.strategies.hyperopt_graph import Graph
from autoft.strategies.random import draw, tried
from autoft.strategies.rung_evidence import gather, said

REPEATS = 4
"""Suggestions after which one that was tried before gives way to a random draw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HyperoptTPE:
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
            raise ConfigError("tpe-hyperopt: startup and candidates must be at least 1.")
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"tpe-hyperopt: gamma must be above 0 and at most 1, not {self.gamma!r}.")

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
                return Suggestion(assignment=assignment, reason=said(evidence))
        drawn, is_new = draw(history)
        if is_new:
            return Suggestion(assignment=drawn, reason="a random draw: what TPE suggests was tried already")
        return Suggestion(assignment=assignment, reason=f"{said(evidence)}; tried before, as was all that was drawn")

    def _graph(self, space: SearchSpace) -> Graph:
        """Return the space's graph; built once, which changes no suggestion."""
        if id(space) not in self._graphs:
            self._graphs.clear()
            self._graphs[id(space)] = (space, Graph(space))
        return self._graphs[id(space)][1]
