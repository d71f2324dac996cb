"""Earlier searches in the branching space of `tests.strategies.worlds`."""

import numpy as np

from autoft.space import SearchSpace
from autoft.strategies import TrialView
from autoft.strategies.experience import DataFacts, Experience, PastSearch, flattened, past_search
from tests.strategies.worlds import accuracy_curve, branching_space


def searched(seed: int, *, trials: int = 40, worst_first: bool = False, space: SearchSpace | None = None) -> PastSearch:
    """Return a random search whose curves are those of `accuracy_curve`, or upside down."""
    space = space or branching_space()
    rng = np.random.default_rng(seed)
    assignments = [space.sample(rng) for _ in range(trials)]
    views = [TrialView(trial="t0001", kind="trial", assignment=one, until_epoch=1) for one in assignments]
    curves = [accuracy_curve(view)[:9] for view in views]
    return past_search(
        task=space.task,
        fingerprint=f"{seed}",
        objective="accuracy",
        epochs=9,
        recipes=[flattened(space.recipe(one)) for one in assignments],
        curves=curves,
        maximize=not worst_first,
        facts=DataFacts(rows=100, classes=2),
    )


def experience(*seeds: int, worst_first: bool = False) -> Experience:
    """Return random searches of these seeds."""
    return Experience.of(searched(seed, worst_first=worst_first) for seed in seeds)
