import math
from collections import Counter

import numpy as np
import pytest

from autoft.core.configs import Budget
from autoft.core.seeds import generator
from autoft.space import Choice, SearchSpace, Uniform
from autoft.strategies import Composite, History, Start, ranking
from autoft.strategies.asha import Asha
from autoft.strategies.candidates import Pool, spread
from autoft.strategies.encoding import Encoding
from autoft.strategies.random import Random
from autoft.strategies.tpe import TPE
from tests.strategies.worlds import LOG_LOSS, branching_space, history, trial

SMALL, LARGE = "timm:resnet18", "timm:resnet34"
SPACE = branching_space()


def space_of(*names: str, **more: object) -> SearchSpace:
    return SearchSpace(
        task="image-classification",
        backbone=Choice([{"name": name} for name in names], **more),
        head={"name": "linear", "dropout": Uniform(0.0, 0.5)},
    )


def probe(backbone: str, value: float | None, score: float | None = None):
    return trial(1, [value], status="probe", assignment={"backbone": backbone}).replace(
        trial=f"p-{backbone}", kind="probe", transferability=score
    )


def probed(small: float | None, large: float | None, *scores: float, own: int = 0, **more: object) -> History:
    probes = (probe(SMALL, small, *scores[:1]), probe(LARGE, large, *scores[1:]))
    trials = tuple(trial(n + 1, [0.1], assignment=SPACE.default()) for n in range(own))
    return history(space=SPACE, **more).replace(trials=(*probes, *trials))


def ratio(now: History) -> float:
    """Return how many times as often the large backbone is drawn as the small one."""
    found = ranking.weights(now)
    return found[LARGE] / found[SMALL] if found else 1.0


def test_one_backbone_leaves_the_draws_of_the_space_as_they_are():
    space = SPACE.narrowed({"backbone.name": LARGE})
    now = history(space=space).replace(trials=(probe(LARGE, 0.9, 0.1),))
    assert ranking.weights(now) == {}
    drawn = [ranking.sampler(now)(generator(0, n)) for n in range(5)]
    assert drawn == [space.sample(generator(0, n)) for n in range(5)]


def test_a_probe_two_standard_deviations_ahead_of_the_other_of_two_is_drawn_four_times_as_often():
    assert ratio(probed(0.5, 0.7)) == pytest.approx(math.exp(2 * 0.7))


def test_differences_of_probes_within_noise_count_less():
    assert ratio(probed(0.50, 0.52)) == pytest.approx(math.exp(0.7))


def test_probe_and_transferability_count_the_same():
    assert ratio(probed(0.5, 0.7, 0.2, 0.1)) == 1.0
    assert ratio(probed(0.5, 0.7, 0.1, 0.2)) == pytest.approx(math.exp(2 * 0.7))
    assert ratio(probed(0.6, 0.6, 0.1, 0.2)) == pytest.approx(math.exp(0.7))


def test_a_loss_ranks_the_other_way():
    assert ratio(probed(0.5, 0.7, objective=LOG_LOSS)) == pytest.approx(math.exp(-2 * 0.7))


def test_a_backbone_whose_probe_has_no_finite_value_is_as_far_behind_as_any():
    assert ratio(probed(0.5, None)) == pytest.approx(math.exp(-2 * 0.7))


def test_it_counts_by_half_after_sixteen_own_trials_and_changes_every_eighth():
    ratios = [math.log(ratio(probed(0.5, 0.7, own=own))) / (2 * 0.7) for own in (0, 7, 8, 16, 160)]
    assert ratios == pytest.approx([1, 1, 2 / 3, 1 / 2, 1 / 11])


def test_trials_in_flight_are_no_own_evidence():
    flying = tuple(trial(n + 1, [], until=1, assignment=SPACE.default()) for n in range(8))
    now = probed(0.5, 0.7)
    assert ranking.weights(now.replace(trials=(*now.trials, *flying))) == ranking.weights(now)


def test_published_accuracy_is_the_prior_where_nothing_is_measured():
    assert ranking._published(SMALL) < ranking._published(LARGE)
    assert ratio(history(space=SPACE)) == pytest.approx(math.exp(2 * 0.7))
    assert ratio(probed(0.6, 0.6)) == 1.0


def test_what_is_probed_is_placed_among_the_others_by_what_is_published():
    names = (SMALL, LARGE, "timm:resnet50")
    now = history(space=space_of(*names))
    before = ranking.weights(now)
    assert before[SMALL] < before[LARGE] < before["timm:resnet50"]
    swapped = ranking.weights(now.replace(trials=(probe(SMALL, 0.8), probe(LARGE, 0.6))))
    assert swapped[LARGE] < swapped[SMALL]
    assert math.log(swapped[LARGE] * swapped[SMALL] / swapped["timm:resnet50"] ** 2) == pytest.approx(
        math.log(before[LARGE] * before[SMALL] / before["timm:resnet50"] ** 2), abs=0.3
    )


def test_a_backbone_of_which_nothing_is_known_is_in_the_middle():
    now = history(space=space_of(SMALL, "hf:someone/some-encoder", LARGE))
    assert [round(math.log(weight / ranking.weights(now)[SMALL]), 2) for weight in ranking.weights(now).values()] == [
        *(0.0, 0.7, 1.4)
    ]


def test_a_space_that_says_how_likely_its_backbones_are_is_its_own_prior():
    space = space_of(SMALL, LARGE, probabilities=[0.9, 0.1])
    assert ranking.weights(history(space=space)) == {}
    now = history(space=space).replace(trials=(probe(SMALL, 0.5), probe(LARGE, 0.7)))
    found = ranking.weights(now)
    assert 0.9 * found[SMALL] + 0.1 * found[LARGE] == pytest.approx(1)
    assert found[LARGE] / found[SMALL] == pytest.approx(math.exp(2 * 0.7))


def test_draws_come_as_often_as_the_weights_say():
    now = probed(0.5, 0.7)
    count = Counter(ranking.sampler(now)(generator(0, n))["backbone"] for n in range(1000))
    assert count[LARGE] / 1000 == pytest.approx(ranking.weights(now)[LARGE] / 2, abs=0.04)


def test_tpe_draws_and_suggests_the_backbone_that_its_probe_favours():
    drawn = [TPE().suggest(probed(0.5, 0.7, seed=seed), rungs=(9,)).assignment for seed in range(60)]
    assert Counter(one["backbone"] for one in drawn)[LARGE] > 40
    # Trials that tell no backbone from the other.
    trials = tuple(
        trial(n + 1, [n / 40] * 9, status="completed", assignment=SPACE.default({"backbone": name}))
        for n, name in enumerate([SMALL, LARGE] * 8)
    )
    counts = []
    for small, large in ((0.5, 0.9), (0.9, 0.5)):
        now = [probed(small, large, seed=seed) for seed in range(40)]
        fitted = [one.replace(trials=(*one.trials, *trials)) for one in now]
        found = [TPE().suggest(one, rungs=(9,)).assignment["backbone"] for one in fitted]
        counts.append(found.count(LARGE))
    assert counts[0] > counts[1]


def test_what_curves_considers_favours_the_backbone_too():
    encoding = Encoding(SPACE)
    drawn = Pool(encoding).draws(probed(0.5, 0.7), 200)
    assert Counter(one["backbone"] for one in drawn)[LARGE] > 140
    layers = [spread(probed(0.5, 0.7, own=0).replace(seed=seed), encoding, 1)["backbone"] for seed in range(60)]
    assert layers.count(LARGE) > 40


def test_the_random_searcher_draws_as_the_space_has_it():
    one, other = (Random().suggest(now, rungs=(9,)) for now in (probed(0.5, 0.9), probed(0.9, 0.5)))
    assert one == other


def test_a_position_lies_at_the_value_that_has_it_by_other_shares():
    domain = Choice(["a", "b", "c"])
    shares = np.array([0.1, 0.2, 0.7])
    assert [domain.at(ranking.placed(at, shares, domain)) for at in (0.05, 0.11, 0.29, 0.31, 0.99)] == [*"abbcc"]


NAMES = (SMALL, "hf:someone/some-encoder", LARGE, "timm:resnet50", "timm:resnet101")


def started(now: History) -> list[str]:
    """Return the backbones that are probed, in order, if each probe ends at once."""
    strategy, found = Composite(searcher=Random(), scheduler=Asha()), []
    while isinstance(decision := strategy.next(now), Start) and decision.kind == "probe":
        name = decision.recipe["backbone"]["name"]
        found.append(name)
        now = now.replace(trials=(*now.trials, probe(name, 0.5)), seconds_used=now.seconds_used + 10)
    return found


def test_the_defaults_backbone_is_probed_first_and_then_the_best_published_one_down_to_those_of_which_none_is():
    now = history(space=space_of(*NAMES, prior=LARGE))
    ordered = sorted({SMALL, "timm:resnet50", "timm:resnet101"}, key=lambda name: -(ranking._published(name) or 0))
    assert started(now) == [LARGE, *ordered, "hf:someone/some-encoder"]


def test_beyond_three_no_backbone_is_probed_once_a_third_of_the_time_is_used():
    now = history(space=space_of(*NAMES), seconds=100.0)
    assert len(started(now)) == 4
    assert len(started(now.replace(seconds_used=40.0))) == 3
    assert len(started(now.replace(budget=Budget(trials=12, epochs=9)))) == 5
