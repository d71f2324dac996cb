"""The searcher that knows what earlier searches found, and trusts its own trials the more it has of them."""

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoft.core.errors import ConfigError
from autoft.core.seeds import generator
from autoft.space import Choice, SearchSpace
from autoft.strategies import ranking
from autoft.strategies.base import Assignment, History, Suggestion, TrialView
from autoft.strategies.experience.encoding import Points, typical_distance
from autoft.strategies.experience.lessons import Candidates, Key, Lessons, key_of
from autoft.strategies.experience.model import DataFacts, Experience
from autoft.strategies.random import draw, tried
from autoft.strategies.rungs import loss_at

MAX_TRIALS = 200
"""Own trials that the model is fitted on: the better half of it, and the others evenly over their order."""
TOP_DRAWS = 300
"""Candidates that go on to the model: those of the lessons with the least expected loss."""
NEIGHBOURS = 100
"""Candidates near the best own trials."""
WIDTHS = (0.02, 0.05, 0.1, 0.2)
"""Standard deviations of a neighbour's numbers, as shares of their distributions."""
REDRAWN = 0.1
"""Chance that a neighbour has a choice drawn anew."""
SIGNAL = 0.1
"""Variance of what the lessons do not explain, on the scale of `_places`."""
NOISE = 0.09
REACH = 0.6
"""Length over which outcomes are alike, beside the distance of two draws."""
SLOPE_TRIALS = 10.0
"""Trials at which the own slope of outcomes over expectations counts as much as the slope 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Own:
    """Own trials, as the model takes them."""

    views: tuple[TrialView, ...]
    """Those that came to a rung, best first, then those in flight."""
    num_ranked: int

    @property
    def places(self) -> NDArray[np.float64]:
        """Outcomes: the root of the rank's share, so that the best few lie far apart; 0 is the best."""
        return np.sqrt((np.arange(self.num_ranked) + 0.5) / self.num_ranked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """Try a portfolio of earlier searches first; then improve on it, by their models and a residual of the own trials.

    Each earlier search says how good a configuration was on its data; their weighted mean is what is expected here. The
    weights follow how alike the data are and how well each search ranks the trials of this one. A Gaussian process on
    the difference between outcome and expectation corrects them where own trials are near: so the prior fades, first
    where there is own evidence. Outcomes are ranks: who came to a higher rung is better than who was left at a lower
    one. The next trial has the greatest expected improvement among good candidates of the lessons and neighbours of the
    best own trials; trials in flight narrow the process where they are, and move it nowhere.

    References: Wistuba et al., Scalable Gaussian Process-Based Transfer Surrogates, Machine Learning 2018; Feurer et
    al., Practical Transfer Learning for Bayesian Optimization, arXiv:1802.02219.
    """

    portfolio: int = 4
    """Assignments of the portfolio that are tried first; after so many, own results choose better than a fixed list."""
    _cache: dict[tuple[int, int], Lessons] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.portfolio < 0:
            raise ConfigError(f"transfer: portfolio must be at least 0, not {self.portfolio!r}.")

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return the next of the portfolio, or the model's choice.

        Raises:
            ConfigError: If the search has no experience to learn from, or none of it is in the space.
        """
        if history.evidence is None:
            raise ConfigError("The searcher transfer needs experience; give it with --learn-from RUN.")
        if (first := self.first(history)) is not None:
            return first
        known = {key_of(assignment) for assignment in tried(history)}
        return self._improve(history, self.lessons(history.space, history.evidence), known, rungs)

    def first(self, history: History) -> Suggestion | None:
        """Return the next of the portfolio, or None once all of it was tried, or where there is no experience."""
        if history.evidence is None or self.portfolio == 0:
            return None
        lessons = self.lessons(history.space, history.evidence)
        known = {key_of(assignment) for assignment in tried(history)}
        for place, assignment in enumerate(lessons.portfolio(self.portfolio), start=1):
            if key_of(assignment) not in known:
                reason = f"number {place} of a portfolio from {_sources(lessons)}"
                return Suggestion(assignment=assignment, reason=reason)
        return None

    def lessons(self, space: SearchSpace, experience: Experience) -> Lessons:
        """Return what experience teaches about a space; made once, which changes no suggestion."""
        key = (id(space), id(experience))
        found = self._cache.get(key)
        if found is None or found.space is not space or found.experience is not experience:
            self._cache.clear()
            found = self._cache[key] = Lessons(space, experience)
        return found

    def _improve(self, history: History, lessons: Lessons, known: set[Key], rungs: tuple[int, ...]) -> Suggestion:
        own = _own(history, rungs)
        points, said = lessons.points(view.assignment for view in own.views)
        weights = lessons.weights(said, range(own.num_ranked), target_of(history))
        candidates = _candidates(history, lessons, own, weights, known)
        if not candidates.assignments:
            drawn, _ = draw(history)
            return Suggestion(assignment=drawn, reason="a random draw: all that experience suggests was tried already")
        expected = candidates.losses @ weights
        if own.num_ranked < 2:
            best = int(np.argmin(expected))
            return Suggestion(assignment=candidates.assignments[best], reason=f"the best by {_sources(lessons)}")
        improvement = _expected_improvement(
            points=points,
            expected=said @ weights,
            places=own.places,
            candidates=candidates.points,
            candidates_expected=expected,
            scale=REACH * typical_distance(len(own.views[0].assignment)),
        )
        best = int(np.argmax(improvement))
        return Suggestion(
            assignment=candidates.assignments[best],
            reason=f"the greatest expected improvement by {_sources(lessons)} and {own.num_ranked} own trials",
        )


def target_of(history: History) -> DataFacts:
    """Return what is known of the data: the facts of its rows, and the frozen probes that have ended."""
    facts = history.evidence.target if history.evidence is not None else DataFacts()
    if history.objective.metric != "accuracy":
        return facts
    names = ranking.names(history.space)
    found = {
        names[label]: value
        for label, view in ranking.probes(history).items()
        if label in names and (value := view.best(history.objective)) is not None
    }
    return dataclasses.replace(facts, probes=found) if found else facts


def _own(history: History, rungs: tuple[int, ...]) -> _Own:
    ranked: list[tuple[float, float, int, TrialView]] = []
    pending: list[TrialView] = []
    for number, view in enumerate(history.trials):
        if view.kind == "probe" or view.status == "failed":
            continue
        reached = next(
            (
                (place, loss)
                for place in reversed(range(len(rungs)))
                if (loss := loss_at(history, view, rungs[place])) is not None
            ),
            None,
        )
        if reached is None:
            if view.is_running:
                pending.append(view)
        else:
            place, loss = reached
            ranked.append((math.inf if loss == math.inf else -place, loss, number, view))
    ranked.sort(key=lambda item: item[:3])
    views = [item[3] for item in ranked]
    if len(views) > MAX_TRIALS:
        half = MAX_TRIALS // 2
        others = np.linspace(half, len(views) - 1, MAX_TRIALS - half).round().astype(int)
        views = [*views[:half], *(views[place] for place in others)]
    return _Own(views=(*views, *pending), num_ranked=len(views))


def _candidates(
    history: History, lessons: Lessons, own: _Own, weights: NDArray[np.float64], known: set[Key]
) -> Candidates:
    """Return what may be tried: the best of the lessons, and neighbours of the best own trials; nothing tried."""
    pool = lessons.candidates
    order = np.argsort(pool.losses @ weights, kind="stable")[: TOP_DRAWS + len(known)].tolist()
    kept = [place for place in order if pool.keys[place] not in known][:TOP_DRAWS]
    rng = generator(history.seed, "decision", history.num_started, "transfer")
    near: dict[Key, Assignment] = {}
    top = own.views[: min(10, max(3, own.num_ranked // 10), own.num_ranked)]
    for number in range(NEIGHBOURS if top else 0):
        assignment = neighbour(history.space, top[number % len(top)].assignment, rng)
        if history.space.forbids(assignment) is None and (key := key_of(assignment)) not in known:
            near[key] = assignment
    points, losses = lessons.fresh_points(list(near.values()))
    return Candidates(
        assignments=(*(pool.assignments[place] for place in kept), *near.values()),
        keys=(*(pool.keys[place] for place in kept), *near),
        points=np.concatenate([pool.points[kept], points]),
        losses=np.concatenate([pool.losses[kept], losses]),
    )


def neighbour(space: SearchSpace, assignment: Assignment, rng: np.random.Generator) -> Assignment:
    """Return an assignment near another: every number moved a little, a choice seldom drawn anew."""
    draws = rng.random((2, len(space.parameters)))
    moves = rng.normal(0.0, WIDTHS[int(rng.integers(len(WIDTHS)))], len(space.parameters))
    values = {}
    for number, parameter in enumerate(space.parameters):
        domain, label = parameter.domain, parameter.label
        if label not in assignment or (isinstance(domain, Choice) and draws[0, number] < REDRAWN):
            values[label] = domain.at(float(draws[1, number]))
        elif isinstance(domain, Choice):
            values[label] = assignment[label]
        else:
            at = domain.position(assignment[label]) + float(moves[number])
            values[label] = domain.at(min(max(at, 0.0), 1.0))
    return space.active(values)


def _expected_improvement(
    *,
    points: Points,
    expected: NDArray[np.float64],
    places: NDArray[np.float64],
    candidates: Points,
    candidates_expected: NDArray[np.float64],
    scale: float,
) -> NDArray[np.float64]:
    """Return the expected improvement of each candidate over the best own trial, on the scale of `places`.

    Args:
        points: Of the own trials, those with an outcome first.
        expected: What the lessons say of them.
        places: Outcomes, lower is better.
        candidates: Points.
        candidates_expected: What the lessons say of them.
        scale: Length over which outcomes are alike, on the cube.
    """
    count = len(places)
    centred = expected[:count] - expected[:count].mean()
    spread = float(centred @ centred)
    pull = SLOPE_TRIALS * spread / count + 1e-6
    slope = max(0.0, (float(centred @ (places - places.mean())) + pull) / (spread + pull))
    level = float(places.mean()) - slope * float(expected[:count].mean())
    mean_points, mean_candidates = level + slope * expected, level + slope * candidates_expected
    residual = np.zeros(len(points))
    residual[:count] = places - mean_points[:count]
    covariance = _kernel(points, points, scale)
    cross = _kernel(candidates, points, scale)
    inverse = np.linalg.inv(covariance + NOISE * np.eye(len(points)))
    means = mean_candidates + cross @ (inverse @ residual)
    deviations = np.sqrt(np.maximum(SIGNAL - ((cross @ inverse) * cross).sum(1), 1e-6))
    best = float((mean_points + covariance @ (inverse @ residual)).min())
    z = (best - means) / deviations
    below = np.array([0.5 * math.erfc(-place / math.sqrt(2)) for place in z.tolist()])
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    improvement: NDArray[np.float64] = deviations * (z * below + density)
    return improvement


def _kernel(one: Points, other: Points, scale: float) -> NDArray[np.float64]:
    """Return the Matern covariance of order 3/2."""
    squares = (one * one).sum(1)[:, None] + (other * other).sum(1)[None, :] - 2.0 * one @ other.T
    distances = np.sqrt(3.0 * np.maximum(squares, 0.0)) / scale
    found: NDArray[np.float64] = SIGNAL * (1.0 + distances) * np.exp(-distances)
    return found


def _sources(lessons: Lessons) -> str:
    return f"{lessons.num_searches} earlier searches"
