import pytest

from autoft.core.errors import ConfigError
from autoft.strategies.median import Median
from tests.strategies.worlds import history, trial


def judged(*best, own):
    views = [trial(n, [0.0, 0.0, value], until=9) for n, value in enumerate(best, 1)]
    last = trial(len(best) + 1, [0.0, 0.0, own])
    return Median().judge(history(epochs=27).replace(trials=(*views, last)), last)


def test_it_is_asked_at_every_epoch_from_grace_on():
    assert Median(grace=3).rungs(6) == (3, 4, 5, 6)
    assert Median(grace=9).rungs(6) == (6,)


def test_a_trial_goes_on_while_it_is_no_worse_than_the_median_of_the_others():
    assert judged(0.1, 0.5, 0.9, own=0.5).action == "continue"
    assert judged(0.1, 0.5, 0.9, own=0.49).action == "stop"
    assert judged(0.1, 0.4, 0.6, 0.9, own=0.5).action == "continue"


def test_nothing_is_stopped_while_few_others_came_so_far():
    verdict = judged(0.8, 0.9, own=0.1)
    assert (verdict.action, verdict.reason) == ("continue", "only 2 others came to epoch 3")


def test_a_trial_without_a_finite_value_is_stopped():
    last = trial(1, [None, None, None])
    assert Median().judge(history(epochs=27).replace(trials=(last,)), last).action == "stop"


@pytest.mark.parametrize("options", [{"grace": 0}, {"fewest": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Median(**options)
