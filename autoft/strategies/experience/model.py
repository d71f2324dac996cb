"""What earlier searches found: immutable values, free of the space that they were searched in."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from autoft.core.configs import from_json
from autoft.core.jsonable import Json, digest

Recipe = Mapping[str, Any]
"""Scalars of a complete recipe by path: "optimizer.name", "optimizer.lr", "batch_size"."""
WORST = 1.0
"""The normalised loss of a trial no better than the middle one, or without a finite value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """Simple meta-features of a data set; None where they are not known or mean nothing."""

    rows: int | None = None
    """Rows to train on."""
    classes: int | None = None
    imbalance: float | None = None
    """Rows of the largest class over those of the smallest."""
    input_size: float | None = None
    """Pixels of a picture's shorter side; the median."""
    text_length: float | None = None
    """Characters of a text; the median."""
    name: str | None = None
    """What the data are called: their file or folder, without an ending; it tells data sets apart for people alone."""
    probes: Mapping[str, float] = field(default_factory=dict)
    """Value of the objective that each backbone's frozen probe reached, by the backbone's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastTrial:
    """One trial of an earlier search."""

    recipe: Recipe
    losses: tuple[float | None, ...]
    """After each epoch: 0 is the best value of its search, 1 the middle trial's; None: not finite."""
    epoch_cost: float = 1.0
    """Predicted cost of an epoch, in the units of `costs.epoch_cost`."""
    seconds: float = 0.0
    """Wall clock of its epochs."""

    @property
    def loss(self) -> float:
        """Its best loss, from 0 to `WORST`; a trial that was cut counts with what it had reached."""
        return self.loss_by(len(self.losses))

    def loss_by(self, epoch: int) -> float:
        """Return its best loss up to an epoch, from 0 to `WORST`."""
        return min([WORST, *(loss for loss in self.losses[:epoch] if loss is not None)])


@dataclass(frozen=True, kw_only=True, slots=True)
class PastSearch:
    """One earlier search."""

    name: str
    """Of the content: two of one name are the same search."""
    task: str
    fingerprint: str
    """Of the data."""
    objective: str
    """The metric, with "-" where less is better."""
    epochs: int
    """The most for one trial."""
    facts: DataFacts = DataFacts()
    trials: tuple[PastTrial, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """Earlier searches, each once, and what is known of the data that they are to help with."""

    searches: tuple[PastSearch, ...]
    """In the order of their names, so that equal content gives equal decisions."""
    target: DataFacts = DataFacts()
    """The data of the search that learns."""

    @classmethod
    def of(cls, searches: Iterable[PastSearch], *, target: DataFacts | None = None) -> Self:
        """Return the searches as experience: each once, those without a trial left out."""
        named = {search.name: search for search in searches if search.trials}
        return cls(searches=tuple(named[name] for name in sorted(named)), target=target or DataFacts())

    def merged(self, other: "Experience") -> "Experience":
        """Return the searches of both, each once, for this one's target."""
        return Experience.of((*self.searches, *other.searches), target=self.target)

    def without(self, fingerprint: str) -> "Experience":
        """Return it less the searches on one data set."""
        kept = (search for search in self.searches if search.fingerprint != fingerprint)
        return Experience.of(kept, target=self.target)

    def without_named(self, names: Iterable[str]) -> "Experience":
        """Return it less the searches on data sets of these names."""
        left_out = set(names)
        kept = (search for search in self.searches if search.facts.name not in left_out)
        return Experience.of(kept, target=self.target)

    def for_search(self, task: str, target: DataFacts) -> "Experience":
        """Return what may help a search of `task` on data with the facts `target`."""
        return Experience.of((search for search in self.searches if search.task == task), target=target)

    @property
    def num_trials(self) -> int:
        """Trials over all searches."""
        return sum(len(search.trials) for search in self.searches)

    def to_json(self) -> Json:
        """Return the JSON form; `from_json` gives an equal experience back."""
        return {
            "searches": [_search_json(search) for search in self.searches],
            "target": facts_to_json(self.target),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str = "the experience") -> Self:
        """Read the JSON form.

        Raises:
            FormatError: If a key is unknown or missing.
        """
        searches = []
        for given in values["searches"]:
            trials = tuple(
                from_json(PastTrial, {**trial, "losses": tuple(trial["losses"])}, where=where)
                for trial in given["trials"]
            )
            facts = from_json(DataFacts, given["facts"], where=where)
            searches.append(from_json(PastSearch, {**given, "trials": trials, "facts": facts}, where=where))
        return cls(searches=tuple(searches), target=from_json(DataFacts, values["target"], where=where))


def facts_to_json(facts: DataFacts) -> Json:
    """Return the JSON form of a data set's facts."""
    return {
        "rows": facts.rows,
        "classes": facts.classes,
        "imbalance": facts.imbalance,
        "input_size": facts.input_size,
        "text_length": facts.text_length,
        "name": facts.name,
        "probes": dict(facts.probes),
    }


def _search_json(search: PastSearch) -> Json:
    return {
        "name": search.name,
        "task": search.task,
        "fingerprint": search.fingerprint,
        "objective": search.objective,
        "epochs": search.epochs,
        "facts": facts_to_json(search.facts),
        "trials": [
            {
                "recipe": dict(trial.recipe),
                "losses": list(trial.losses),
                "epoch_cost": trial.epoch_cost,
                "seconds": trial.seconds,
            }
            for trial in search.trials
        ],
    }


def past_search(
    *,
    task: str,
    fingerprint: str,
    objective: str,
    epochs: int,
    recipes: Sequence[Recipe],
    curves: Sequence[Sequence[float | None]],
    maximize: bool,
    facts: DataFacts | None = None,
    epoch_costs: Sequence[float] | None = None,
    seconds: Sequence[float] | None = None,
) -> PastSearch:
    """Return a search with its curves normalised: 0 is the best value that it saw, 1 the middle trial's best.

    A search whose trials were all equally good, or that has fewer than two with a finite value, taught nothing: it
    keeps no trial.

    Args:
        task: Name of the task.
        fingerprint: Of the data.
        objective: The metric, with "-" where less is better.
        epochs: The most for one trial.
        recipes: One a trial: scalars by path.
        curves: One a trial: the objective after each epoch.
        maximize: Whether more is better.
        facts: Of the data.
        epoch_costs: One a trial: predicted, in the units of `costs.epoch_cost`.
        seconds: One a trial: wall clock of its epochs.
    """
    sign = -1.0 if maximize else 1.0
    losses = [
        [sign * value if value is not None and math.isfinite(value) else math.inf for value in curve]
        for curve in curves
    ]
    bests = [min(curve, default=math.inf) for curve in losses]
    finite = [best for best in bests if best < math.inf]
    best, middle = (min(finite), statistics.median(finite)) if finite else (0.0, 0.0)
    trials = tuple(
        PastTrial(
            recipe=dict(recipe),
            losses=tuple(None if loss == math.inf else (loss - best) / (middle - best) for loss in curve),
            epoch_cost=1.0 if epoch_costs is None else epoch_costs[number],
            seconds=0.0 if seconds is None else seconds[number],
        )
        for number, (recipe, curve) in enumerate(zip(recipes, losses, strict=True))
        if curve and middle > best
    )
    content = [task, fingerprint, objective, epochs, [[dict(trial.recipe), list(trial.losses)] for trial in trials]]
    return PastSearch(
        name=digest(content),
        task=task,
        fingerprint=fingerprint,
        objective=objective,
        epochs=epochs,
        facts=facts or DataFacts(),
        trials=trials,
    )


def flattened(recipe: Mapping[str, Any], *, above: str = "") -> dict[str, Any]:
    """Return the scalars of a nested recipe by their paths."""
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping):
            flat |= flattened(value, above=f"{path}.")
        elif value is None or isinstance(value, str | bool | int | float):
            flat[path] = value
    return flat
