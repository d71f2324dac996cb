import pytest

from autoft.core.errors import ConfigError
from autoft.strategies.asha import Asha, default_grace
from tests.strategies.worlds import LOG_LOSS, history, trial

ASHA = Asha(grace=1, reduction_factor=3)


def verdicts(views, *, asha=ASHA, **more):
    """Return who goes on of all that stand, each decided on with all in the history."""
    now = history(trials=20, slots=20, **more).replace(trials=tuple(views))
    return {view.trial: asha.judge(now, view).action == "continue" for view in views if view.is_running}


@pytest.mark.parametrize(
    ("epochs", "grace"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (12, 3), (52, 3), (81, 3), (300, 12)]
)
def test_the_default_grace_is_three_epochs_where_there_is_room(epochs, grace):
    assert default_grace(epochs) == grace


@pytest.mark.parametrize(
    ("asha", "epochs", "rungs"),
    [
        (Asha(), 12, (3, 9, 12)),
        (Asha(), 52, (3, 9, 27, 52)),
        (Asha(), 9, (3, 9)),
        (Asha(), 3, (1, 3)),
        (Asha(), 2, (1, 2)),
        (Asha(), 1, (1,)),
        (Asha(grace=1), 27, (1, 3, 9, 27)),
        (Asha(grace=5), 4, (4,)),
        (Asha(grace=1, reduction_factor=1.5), 6, (1, 2, 3, 5, 6)),
        (Asha(grace=2, reduction_factor=4), 40, (2, 8, 32, 40)),
    ],
)
def test_rungs_grow_by_the_factor_and_end_at_the_full_length(asha, epochs, rungs):
    assert asha.rungs(epochs) == rungs


def test_the_first_at_a_rung_goes_on():
    assert verdicts([trial(1, [0.1])]) == {"t0001": True}


def test_of_two_the_better_goes_on():
    assert verdicts([trial(1, [0.5]), trial(2, [0.6])]) == {"t0001": False, "t0002": True}


def test_of_six_the_best_two_go_on():
    views = [trial(number, [value]) for number, value in enumerate([0.1, 0.6, 0.2, 0.5, 0.3, 0.4], 1)]
    assert [name for name, goes_on in verdicts(views).items() if goes_on] == ["t0002", "t0004"]


def test_a_minimised_metric_keeps_the_lowest():
    views = [trial(1, [0.5]), trial(2, [0.2]), trial(3, [0.9])]
    assert verdicts(views, objective=LOG_LOSS) == {"t0001": False, "t0002": True, "t0003": False}


def test_those_who_left_the_rung_still_count():
    views = [
        trial(1, [0.9, 0.95], until=3),
        trial(2, [0.2], status="pruned"),
        trial(3, [0.3], status="pruned"),
        trial(4, [0.8]),
    ]
    assert verdicts([views[3], *views[1:3]])["t0004"]
    now = history(slots=4).replace(trials=tuple(views))
    verdict = ASHA.judge(now, views[3])
    assert verdict.action == "stop"
    assert verdict.reason == "rank 2 of 4 at rung 1 (accuracy 0.8): not among the best 1, it stops"


def test_a_value_counts_by_the_best_up_to_the_rung_and_not_beyond():
    views = [trial(1, [0.7, 0.2, 0.1]), trial(2, [0.1, 0.2, 0.6, 0.9], until=9)]
    assert verdicts(views)["t0001"]


def test_of_equal_values_the_one_started_earlier_is_better():
    views = [trial(number, [0.5]) for number in (1, 2, 3, 4, 5, 6)]
    assert [name for name, goes_on in verdicts(views).items() if goes_on] == ["t0001", "t0002"]


def test_a_trial_without_a_finite_value_stops_even_alone():
    view = trial(1, [None])
    verdict = ASHA.judge(history().replace(trials=(view,)), view)
    assert verdict.action == "stop"
    assert verdict.reason == "no finite value up to rung 1"


def test_one_epoch_that_was_not_finite_does_not_spoil_the_others():
    assert verdicts([trial(1, [0.4, None, 0.8]), trial(2, [0.5, 0.6, 0.7])]) == {"t0001": True, "t0002": False}


def test_a_diverged_trial_counts_as_worst_at_rungs_that_it_did_not_reach():
    diverged = [trial(n, [0.9, None], status="diverged") for n in (1, 2, 3, 4)]
    standing = [trial(5, [0.1, 0.2, 0.3]), trial(6, [0.1, 0.2, 0.4])]
    assert verdicts([*diverged, *standing]) == {"t0005": True, "t0006": True}


def test_a_failed_trial_and_one_pruned_before_the_rung_do_not_count():
    others = [trial(1, [0.9], status="failed"), trial(2, [0.9], status="pruned")]
    assert verdicts([*others, trial(3, [0.1, 0.2, 0.3]), trial(4, [0.1, 0.2, 0.4])]) == {"t0003": False, "t0004": True}


def test_a_trial_that_ended_by_itself_keeps_its_best_at_later_rungs():
    assert verdicts([trial(1, [0.8, 0.7], status="completed"), trial(2, [0.1, 0.2, 0.5])]) == {"t0002": False}


def test_probes_are_not_compared_with_trials():
    probe = trial(1, [0.99]).replace(trial="p01", kind="probe", status="probe")
    assert verdicts([probe, trial(1, [0.2])]) == {"t0001": True}


@pytest.mark.parametrize("options", [{"grace": 0}, {"reduction_factor": 1}, {"reduction_factor": float("nan")}])
def test_options_that_make_no_rungs_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Asha(**options)
