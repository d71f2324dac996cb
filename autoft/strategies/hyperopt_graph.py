"""A search space as hyperopt's graph, and hyperopt's values as an assignment; the one place that imports hyperopt.

Every parameter is labelled by its path with its branch, so that a leaf of the same name in two branches is two
parameters. A choice is `hp.choice` (with probabilities `hp.pchoice`), and what exists in one of its branches alone is
nested there; a condition on another path (`when:`) is checked on the way back, and what is forbidden is drawn again.
A number is searched on its quantiles (`hp.uniform` on [0, 1]): on that scale uniform, log-uniform, normal with bounds,
whole and stepped domains are all alike, and each of their values, end points included, has the mass that the space
gives it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoft.core.jsonable import Json
from autoft.core.seeds import derive_seed, generator
from autoft.space import Choice, Parameter, SearchSpace
from autoft.space.domains import same_value
from autoft.strategies.base import Assignment

if TYPE_CHECKING:
    from hyperopt import Trials

OK = {"status": "ok"}
ATTEMPTS = 16
"""Suggestions after which one that is forbidden gives way to a draw."""


class Graph:
    """A space converted for hyperopt; holds no evidence."""

    def __init__(self, space: SearchSpace) -> None:
        from hyperopt import Domain

        self.space = space
        self._parameters = {parameter.label: parameter for parameter in space.parameters}
        self._domain = Domain(_no_objective, expression(space.parameters))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of hyperopt's parameters: those of the space."""
        return tuple(self._domain.params)

    def draw(self, *, seed: int) -> Assignment:
        """Return a draw from the graph's prior, which is the space's own distribution."""
        from hyperopt import rand

        for attempt in itertools.count():
            own_seed = seed if attempt == 0 else derive_seed(seed, "forbidden", attempt)
            assignment = self._assignment(rand.suggest([0], self._domain, self._trials(()), own_seed))
            if self.space.forbids(assignment) is None:
                break
        return assignment

    def suggest(
        self, losses: Sequence[tuple[Assignment, float]], *, seed: int, candidates: int = 24, gamma: float = 0.25
    ) -> Assignment:
        """Return what hyperopt's TPE would try next; a draw, where all that it suggests is forbidden.

        Args:
            losses: At least one assignment with its finite loss, lower is better, in the order of their start:
                hyperopt lets those before the last 25 of a kind count less.
            seed: Of all draws of this suggestion.
            candidates: Draws of each parameter, of which the best is taken (hyperopt's n_EI_candidates).
            gamma: ceil(gamma x sqrt(n)) of n are taken for good, at most 25.
        """
        from hyperopt import tpe

        trials = self._trials(losses)
        for attempt in range(ATTEMPTS):
            own_seed = seed if attempt == 0 else derive_seed(seed, "forbidden", attempt)
            documents = tpe.suggest(
                [len(losses)],
                self._domain,
                trials,
                own_seed,
                n_startup_jobs=0,
                n_EI_candidates=candidates,
                gamma=gamma,
                verbose=False,
            )
            assignment = self._assignment(documents)
            if self.space.forbids(assignment) is None:
                return assignment
        return self.space.sample(generator(seed, "forbidden"))

    def _trials(self, losses: Sequence[tuple[Assignment, float]]) -> "Trials":
        from hyperopt.base import trials_from_docs

        documents = [self._document(number, *observed) for number, observed in enumerate(losses)]
        return trials_from_docs(documents, validate=False)

    def _document(self, number: int, assignment: Assignment, loss: float) -> Json:
        from hyperopt import JOB_STATE_DONE

        values = {
            label: [_to_hyperopt(parameter, assignment[label])] if label in assignment else []
            for label, parameter in self._parameters.items()
        }
        indices = {label: [number] * len(found) for label, found in values.items()}
        return {
            "tid": number,
            "spec": None,
            "result": OK | {"loss": loss},
            "misc": {"tid": number, "cmd": None, "idxs": indices, "vals": values},
            "state": JOB_STATE_DONE,
            "owner": None,
            "book_time": None,
            "refresh_time": None,
            "exp_key": None,
            "version": 0,
        }

    def _assignment(self, documents: Sequence[Json]) -> Assignment:
        """Return the assignment in a document of hyperopt, less what `when:` rules out."""
        found = documents[0]["misc"]["vals"]
        return self.space.active(
            {
                label: _from_hyperopt(parameter, found[label][0])
                for label, parameter in self._parameters.items()
                if found[label]
            }
        )


def expression(parameters: Sequence[Parameter]) -> Json:
    """Return hyperopt's expression of a space: parameters of one branch alone within that branch's option."""
    from hyperopt import hp

    inner: dict[tuple[str, Any], list[Parameter]] = {}
    for parameter in parameters:
        for condition in parameter.conditions:
            inner.setdefault((condition.label, condition.values[0]), []).append(parameter)

    def node(parameter: Parameter) -> Any:
        if not isinstance(parameter.domain, Choice):
            return hp.uniform(parameter.label, 0.0, 1.0)
        options = [
            {"value": index} | {held.label: node(held) for held in inner.get((parameter.label, value), ())}
            for index, value in enumerate(parameter.domain.values)
        ]
        if parameter.domain.probabilities is None:
            return hp.choice(parameter.label, options)
        return hp.pchoice(parameter.label, list(zip(parameter.domain.shares, options, strict=True)))

    # A constant beside them, since hyperopt takes no expression without a leaf.
    return {"constant": 0} | {parameter.label: node(parameter) for parameter in parameters if not parameter.conditions}


def _to_hyperopt(parameter: Parameter, value: Any) -> float | int:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return next(index for index, known in enumerate(domain.values) if same_value(known, value))
    # hyperopt's upper bound is exclusive.
    return min(domain.position(value), math.nextafter(1.0, 0.0))


def _from_hyperopt(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return domain.values[int(value)] if isinstance(domain, Choice) else domain.at(float(value))


def _no_objective(_: Any) -> None:
    """Stand for the function that hyperopt would minimise; autoft trains by itself."""
