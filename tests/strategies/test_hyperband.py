from collections import Counter

from autoft.strategies.hyperband import Hyperband
from tests.strategies.worlds import history, trial


def test_trials_are_spread_over_brackets_in_hyperbands_proportion():
    # Of R = 9, eta = 3: 9, 5 and 3 trials begin at rungs 1, 3 and 9.
    now = history(epochs=9).replace(trials=tuple(trial(n, [0.5]) for n in range(1, 18)))
    brackets = Hyperband(grace=1).brackets(now)
    assert Counter(brackets.values()) == {0: 9, 1: 5, 2: 3}
    assert [brackets[f"t{n:04d}"] for n in range(1, 5)] == [0, 1, 0, 2]


def test_a_trial_goes_on_to_the_first_rung_of_its_bracket():
    now = history(epochs=9).replace(trials=(trial(1, [0.9]), trial(2, [0.1])))
    verdict = Hyperband(grace=1).judge(now, now.trials[1])
    assert (verdict.action, verdict.reason) == ("continue", "bracket 2 of 3 begins at rung 3")


def test_trials_are_compared_within_their_bracket():
    now = history(epochs=9).replace(trials=(trial(1, [0.5]), trial(2, [0.9] * 3), trial(3, [0.4])))
    one, other = (Hyperband(grace=1).judge(now, now.trials[place]) for place in (0, 2))
    assert (one.action, other.action) == ("continue", "stop")
    assert other.reason.startswith("in bracket 1 of 3, rank 2 of 2 at rung 1")
