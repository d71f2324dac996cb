import numpy as np

from autoft.core.seeds import generator
from autoft.space import SearchSpace, Uniform
from autoft.strategies import ranking
from autoft.strategies.candidates import Pool, change, spread
from autoft.strategies.encoding import Encoding
from tests.strategies.worlds import branching_space, history, trial

SPACE = branching_space()
ENCODING = Encoding(SPACE)


def started(count: int, *, seed: int = 0):
    return history(space=SPACE, seed=seed).replace(trials=tuple(trial(n + 1, [0.1]) for n in range(count)))


def test_a_spread_has_one_configuration_in_each_layer_of_each_range():
    space = SearchSpace(
        task="image-classification",
        backbone="timm:resnet18",
        head={"name": "linear", "dropout": Uniform(0.0, 0.5)},
        schedule={"name": "cosine", "warmup_fraction": Uniform(0.0, 0.2)},
    )
    encoding = Encoding(space)
    now = history(space=space)
    spreads = [
        spread(now.replace(trials=tuple(trial(n + 1, [0.1]) for n in range(count))), encoding, 16)
        for count in range(16)
    ]
    positions_NP = np.array([encoding.positions(one) for one in spreads])
    assert np.sort(np.floor(16 * positions_NP), axis=0).T.tolist() == [list(range(16))] * 2
    quarters = {tuple(corner) for corner in np.floor(4 * positions_NP).tolist()}
    assert len(quarters) == 16


def test_beyond_its_number_a_spread_is_a_draw():
    now = started(9)
    drawn = ranking.sampler(now)(generator(now.seed, "decision", 9))
    assert spread(now, ENCODING, 9) == drawn != spread(now, ENCODING, 10)


def test_a_change_is_an_assignment_with_exactly_its_active_parameters():
    rng = np.random.default_rng(0)
    base = SPACE.default()
    made = [change(ENCODING, base, rng) for _ in range(200)]
    for one in made:
        SPACE.validate(one)
    assert len({one["optimizer"] for one in made}) == 2
    assert sum(one["optimizer"] == base["optimizer"] for one in made) > 140


def test_what_is_considered_depends_on_the_seed_and_the_starts_alone():
    best = [trial(1, [0.9], assignment=SPACE.default())]
    one = Pool(ENCODING)

    def considered(pool: Pool, count: int, *, seed: int = 0):
        now = started(count, seed=seed)
        return pool.changes(now, best, 10), pool.draws(now, 10)

    first = considered(one, 16)
    assert [len(part) for part in first] == [10, 10]
    assert considered(one, 17) == first == considered(Pool(ENCODING), 16)
    for other in (considered(one, 24), considered(one, 16, seed=1)):
        assert other[0] != first[0]
        assert other[1] != first[1]


def test_of_no_trial_there_is_no_change():
    assert Pool(ENCODING).changes(started(16), [], 10) == []
