from autoft.core.configs import Budget, EpochResult
from autoft.engine.forecast import seconds_left
from autoft.engine.ledger import Entry
from autoft.strategies import TrialView


def entry(kind, *seconds, status="completed"):
    view = TrialView(trial="t", kind=kind, assignment={}, until_epoch=9, status=status)
    epochs = [
        EpochResult(epoch=number, metrics={}, seconds=one, status="running", is_best=False)
        for number, one in enumerate(seconds, 1)
    ]
    return Entry(view=view, config={}, epochs=epochs)


def left(*entries, trials=6, seconds=None, used=50.0, slots=2):
    budget = Budget(trials=trials, epochs=9, seconds=seconds)
    return seconds_left(entries, budget=budget, seconds_used=used, slots=slots, num_probes=2)


def test_what_is_left_are_trials_and_probes_at_the_mean_cost_of_those_before():
    done = (entry("probe", 6.0, status="probe"), entry("trial", 10.0, 10.0), entry("trial", 10.0, status="paused"))
    assert left(*done) == (4 * 15.0 + 6.0) / 2
    running = entry("trial", 4.0, status="running")
    assert left(*done, running) == (3 * 15.0 + 11.0 + 6.0) / 2


def test_a_running_trial_that_costs_more_than_the_others_is_about_to_end():
    done = (entry("probe", 1.0), entry("probe", 1.0), entry("trial", 10.0))
    assert left(*done, entry("trial", 25.0, status="running"), trials=2) is None


def test_no_more_is_left_than_the_budget_of_time_has():
    assert left(entry("trial", 100.0), seconds=60.0) == 10.0
    assert left(entry("trial", 100.0), seconds=40.0) == 0.0


def test_nothing_is_said_before_a_trial_has_shown_what_it_costs_or_where_no_number_of_trials_is_given():
    assert left() is None
    assert left(entry("trial", 3.0, status="running")) is None
    assert left(entry("trial", 3.0), trials=None, seconds=100.0) is None
