"""What experience teaches about one space: how good any configuration was, and which to try first."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoft.core.errors import ConfigError
from autoft.core.seeds import generator
from autoft.space import SearchSpace
from autoft.strategies.base import Assignment
from autoft.strategies.encoding import Encoding
from autoft.strategies.experience import similarity
from autoft.strategies.experience.forest import Forest
from autoft.strategies.experience.mapping import Mapper
from autoft.strategies.experience.model import DataFacts, Experience, PastSearch, PastTrial

MAX_ROWS = 6000
"""Trials that the forest is fitted on, over all searches; of each search the better third and a draw of the others."""
DRAWS = 1500
GOOD_LOSS = 0.4
"""Trials below it are candidates themselves."""
MAX_GOOD = 1500
EVEN = 1e-3
"""Share of the mean loss in what the portfolio lessens: among equals, what is good on all data sets comes first."""

PROGRESS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of a search's longest training after which its trials' losses are learned: what learns slowly may end well."""
KEPT = 10_000
"""Assignments whose losses are kept before all are forgotten."""

Losses = NDArray[np.float64]
Key = frozenset[tuple[str, bool, object]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Assignments, each once, and what each search says of them."""

    assignments: tuple[Assignment, ...]
    losses: Losses


@dataclass(frozen=True)
class Lessons:
    """Experience mapped to a space; immutable, so that it is made once a search.

    Attributes:
        space: What is searched now.
        experience: What is learned from.
    """

    space: SearchSpace
    experience: Experience

    @cached_property
    def _learned(self) -> "_Learned":
        return _learned(self.space, self.experience)

    def require(self) -> None:
        """Refuse experience of which nothing is in the space.

        Raises:
            ConfigError: If so.
        """
        _ = self._learned

    @property
    def num_trials(self) -> int:
        """Trials that could be mapped to the space, of those that are used."""
        return len(self._learned.assignments)

    @property
    def num_searches(self) -> int:
        """Searches with such a trial."""
        return len(self._learned.searches)

    @cached_property
    def _encoding(self) -> Encoding:
        return Encoding(self.space)

    @cached_property
    def _kept(self) -> dict[int, tuple[Assignment, Losses]]:
        """The losses of assignments that were asked about; it only saves time."""
        return {}

    def losses(self, assignments: Iterable[Assignment]) -> Losses:
        """Return what each search says of assignments, of shape (assignments, searches).

        A loss is 0 for the best of the search, and 1 for its middle trial or what is worse.
        """
        return self.curves(assignments)[:, :, -1]

    def curves(self, assignments: Iterable[Assignment]) -> Losses:
        """Return their losses after each of `PROGRESS`, of shape (assignments, searches, len(PROGRESS))."""
        given = list(assignments)
        if len(self._kept) + len(given) > KEPT:
            self._kept.clear()
        new = [one for one in given if self._kept.get(id(one), (None,))[0] is not one]
        if new:
            found = self._learned.forest.losses(self._encoding.encode(new))
            self._kept.update({id(one): (one, row) for one, row in zip(new, found, strict=True)})
        return np.array([self._kept[id(one)][1] for one in given]).reshape(len(given), self.num_searches, len(PROGRESS))

    def relevance(self, target: DataFacts | None = None) -> NDArray[np.float64]:
        """Return how alike the data of each search are to `target`, or to the experience's own, from 0 to 1."""
        facts = target or self.experience.target
        return np.array([similarity.similarity(facts, search.facts) for search in self._learned.searches])

    def weights(self, losses: Losses, order: Sequence[int], target: DataFacts | None = None) -> NDArray[np.float64]:
        """Return the weight of each search, 1 in all.

        Args:
            losses: Of the trials of this search, by `losses`.
            order: Their places, from the best on.
            target: What is known of the data by now.
        """
        return similarity.weights(self.relevance(target), losses, order)

    @cached_property
    def _draws(self) -> list[Assignment]:
        rng = generator(0, "lessons", "draws")
        return [self.space.sample(rng) for _ in range(DRAWS)]

    @cached_property
    def everywhere(self) -> Losses:
        """What each search says of draws from the space."""
        return self.losses(self._draws)

    @cached_property
    def candidates(self) -> Candidates:
        """What may be tried: what was good elsewhere, and draws from the space."""
        unique = {key_of(assignment): assignment for assignment in (*self._learned.good, *self._draws)}
        return Candidates(assignments=tuple(unique.values()), losses=self.losses(unique.values()))

    def portfolio(self, size: int) -> tuple[Assignment, ...]:
        """Return what to try first: each lessens most the mean, over searches, of the best loss so far.

        Reference: Feurer et al., Auto-Sklearn 2.0, arXiv:2007.04074, section 3.1: the greedy portfolio.
        """
        losses = self.candidates.losses
        relevance = self.relevance()
        shares = relevance / relevance.sum()
        mean = losses @ shares
        best = np.ones(losses.shape[1])
        chosen: list[int] = []
        for _ in range(min(size, len(losses))):
            gains = np.minimum(losses, best) @ shares + EVEN * mean
            gains[chosen] = np.inf
            chosen.append(int(np.argmin(gains)))
            best = np.minimum(best, losses[chosen[-1]])
        return tuple(self.candidates.assignments[place] for place in chosen)


_LAST: list[Lessons] = []


def lessons_of(space: SearchSpace, experience: Experience) -> Lessons:
    """Return what experience teaches about a space; the last is kept, which only saves time."""
    found = next((one for one in _LAST if one.space is space and one.experience is experience), None)
    if found is None:
        _LAST[:] = [found := Lessons(space, experience)]
    return found


@dataclass(frozen=True, kw_only=True)
class _Learned:
    searches: tuple[PastSearch, ...]
    assignments: list[Assignment]
    forest: Forest
    good: list[Assignment]


def _learned(space: SearchSpace, experience: Experience) -> _Learned:
    mapper, encoding = Mapper(space), Encoding(space)
    searches: list[PastSearch] = []
    assignments: list[Assignment] = []
    losses: list[list[float]] = []
    owners: list[int] = []
    share = MAX_ROWS // max(1, len(experience.searches))
    for search in experience.searches:
        mapped = [
            (found, [trial.loss_by(math.ceil(share * search.epochs)) for share in PROGRESS])
            for trial in _some(search, share)
            if (found := mapper.assignment(trial.recipe)) is not None
        ]
        if not mapped:
            continue
        assignments += [assignment for assignment, _ in mapped]
        losses += [loss for _, loss in mapped]
        owners += [len(searches)] * len(mapped)
        searches.append(search)
    if not searches:
        raise ConfigError(
            f"None of the {experience.num_trials} trials that the search is to learn from is in the space "
            f"'{space.name}'; they were of {_tasks(experience)}."
        )
    forest = Forest.fitted(encoding.encode(assignments), np.array(losses), np.array(owners), len(searches))
    order = sorted((curve[-1], number) for number, curve in enumerate(losses) if curve[-1] < GOOD_LOSS)
    return _Learned(
        searches=tuple(searches),
        assignments=assignments,
        forest=forest,
        good=[assignments[number] for _, number in order[:MAX_GOOD]],
    )


def _some(search: PastSearch, count: int) -> list[PastTrial]:
    """Return at most `count` trials: the better third, and a draw of the others."""
    if len(search.trials) <= count:
        return list(search.trials)
    order = sorted(range(len(search.trials)), key=lambda number: (search.trials[number].loss, number))
    best, rest = order[: count // 3], order[count // 3 :]
    drawn = generator(0, "lessons", search.name).choice(rest, count - len(best), replace=False)
    return [search.trials[number] for number in sorted([*best, *drawn.tolist()])]


def _tasks(experience: Experience) -> str:
    return ", ".join(sorted({search.task for search in experience.searches})) or "no search"


def key_of(assignment: Assignment) -> Key:
    """Return what equal assignments have in common; true and 1 are two things."""
    return frozenset((label, value is True or value is False, value) for label, value in assignment.items())
