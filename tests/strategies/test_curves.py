import statistics

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from autoft.core.errors import ConfigError
from autoft.strategies import Composite, Continue, Pause, Promotion, Start
from autoft.strategies.asha import AshaPromote
from autoft.strategies.curve_evidence import scaled
from autoft.strategies.curve_model import Options
from autoft.strategies.curves import CONSIDERED, MOST_LEARNED, UNLIKELY, Curves
from autoft.strategies.random import Random
from autoft.strategies.simulate import simulate
from tests.strategies.experience.pasts import experience
from tests.strategies.worlds import LOG_LOSS, accuracy_curve, branching_space, history, loss_of, trial

SPACE = branching_space()
PAST = experience(1, 2)


def both(**options):
    curves = Curves(**options)
    return Composite(searcher=curves, scheduler=curves)


@pytest.fixture(scope="module")
def done():
    return simulate(both(), history(space=SPACE, trials=40, epochs=27, slots=4), accuracy_curve)


def test_every_trial_stops_at_the_first_rung_until_the_model_chooses(done):
    ends = [d.until_epoch for d in done.decisions if isinstance(d, Start) and d.kind == "trial"]
    assert set(ends) == {3}
    first = next(i for i, d in enumerate(done.decisions) if isinstance(d, Continue))
    assert sum(view.epoch >= 3 for view in done.steps[first][0].trials) >= 16


def test_paused_trials_go_on(done):
    paused = {d.trial for d in done.decisions if isinstance(d, Pause)}
    assert paused & {d.trial for d in done.decisions if isinstance(d, Continue)}


def test_the_best_configuration_is_trained_to_its_end(done):
    best = max(done.history.trials, key=lambda view: max([v for v in view.values if v is not None], default=0.0))
    assert best.epoch == 27


def test_few_train_long_and_many_do_not(done):
    epochs = [view.epoch for view in done.history.trials if view.kind == "trial"]
    assert statistics.median(epochs) <= 6
    assert done.num_epochs < 40 * 27 * 0.4


def test_of_new_trials_each_fifth_is_a_draw_once_the_model_chooses(done):
    starts = [d for d in done.decisions if isinstance(d, Start) and d.kind == "trial"]
    drawn = [place for place, start in enumerate(starts) if "is a draw" in start.reason]
    assert drawn == [19, 24, 29, 34, 39]


def test_the_cores_of_a_machine_decide_no_digit_of_what_is_expected(monkeypatch):
    predict, found = Options.predict, {1: [], 2: []}
    for cores, expected in found.items():

        def watched(model, *points, expected=expected):
            expected.append(predict(model, *points))
            return expected[-1]

        monkeypatch.setattr(Options, "predict", watched)
        with threadpool_limits(cores, user_api="blas"):
            simulate(both(), history(space=SPACE, trials=100, epochs=27, slots=4), accuracy_curve)
    assert len(found[1]) == len(found[2]) > 100
    assert all(np.array_equal(one, other) for one, other in zip(found[1], found[2], strict=True))


def test_a_trial_without_a_finite_value_is_stopped():
    now = history(space=SPACE).replace(trials=(trial(1, [None] * 3),))
    assert Curves().judge(now, now.trials[0]).action == "stop"


def test_a_trial_that_is_worse_than_all_that_are_considered_is_stopped_and_not_kept():
    views = [
        trial(n, [0.5 + n / 1000] * 3, status="paused", assignment=SPACE.default()) for n in range(1, CONSIDERED + 1)
    ]
    last = trial(CONSIDERED + 1, [0.1] * 3, assignment=SPACE.default())
    now = history(space=SPACE, trials=None, seconds=1e6, epochs=27).replace(trials=(*views, last))
    verdict = Curves().judge(now, last)
    assert verdict.action == "stop"
    assert verdict.reason == f"{CONSIDERED} better trials are paused already at rung 3"


def test_what_the_end_of_the_time_paused_between_rungs_goes_on_when_nothing_new_starts():
    views = (
        trial(1, [0.5] * 6, status="paused", assignment=SPACE.default()),
        trial(2, [0.4] * 5, status="paused", assignment=SPACE.sample(np.random.default_rng(0))),
    )
    now = history(space=SPACE, trials=2, epochs=6).replace(trials=views)
    assert Curves().promote(now, is_last_call=True).trial == "t0002"
    assert Curves().promote(now.replace(trials=views[:1]), is_last_call=True) is None


@pytest.mark.parametrize(
    ("past", "shortfall", "is_doubled"),
    [(PAST, UNLIKELY - 1.1, False), (PAST, UNLIKELY + 0.1, True), (None, UNLIKELY + 0.1, False)],
)
def test_where_nothing_is_likely_to_pass_the_best_at_a_cost_it_is_doubled(monkeypatch, past, shortfall, is_doubled):
    rng = np.random.default_rng(0)
    trials = [trial(n, [n / 100] * 3, status="paused", assignment=SPACE.sample(rng)) for n in range(1, 29)]
    now = history(space=SPACE, trials=None, seconds=1e6, epochs=48, evidence=past).replace(trials=tuple(trials))
    highest = float(scaled(np.array([n / 100 for n in range(1, 29)])).max())
    asked = []

    def predict(self, epochs_M, expected_M):
        asked.append(epochs_M.max())
        return np.full(len(epochs_M), highest - shortfall), np.ones(len(epochs_M))

    monkeypatch.setattr(Options, "predict", predict)
    for seed in range(10):
        asked.clear()
        use = Curves().promote(now.replace(seed=seed), is_last_call=False)
        assert asked == sorted(asked)
        assert (len(asked) > 1) == is_doubled
        assert use is not None
        assert ("within 48 usual epochs" in use.reason) == is_doubled


def test_what_is_left_goes_on_also_where_none_of_it_has_a_finite_value():
    ended = [trial(n, [n / 10] * 3, status="pruned", assignment=SPACE.default()) for n in (1, 2)]
    left = trial(3, [None], status="paused", assignment=SPACE.default())
    now = history(space=SPACE, trials=3, epochs=27, evidence=PAST).replace(trials=(*ended, left))
    assert Curves().promote(now, is_last_call=True) == Promotion(
        trial="t0003", reason="the best of those that are paused at 1"
    )


def test_what_is_stopped_is_weighed_against_the_rest_once(monkeypatch):
    asked = []
    find = Curves._find
    monkeypatch.setattr(Curves, "_find", lambda self, *given, **more: asked.append(1) or find(self, *given, **more))
    rng = np.random.default_rng(0)
    paused = [
        trial(n, [0.5 + n / 1000] * 3, status="paused", assignment=SPACE.sample(rng)) for n in range(1, CONSIDERED + 1)
    ]
    last = trial(CONSIDERED + 1, [0.1] * 3, assignment=SPACE.sample(rng))
    now = history(space=SPACE, trials=None, seconds=1e6, epochs=27).replace(trials=(*paused, last))
    strategy = Curves()
    assert strategy.judge(now, last).action == "stop"
    strategy.promote(now.replace(trials=(*paused, last.replace(status="pruned"))), is_last_call=False)
    assert len(asked) == 1


def test_of_trials_that_cost_more_an_epoch_fewer_epochs_are_weighed():
    dear = simulate(both(), history(space=SPACE, trials=30, epochs=27, slots=4, objective=LOG_LOSS), loss_curve)
    costs = {view.trial: view.epoch_cost for view in dear.history.trials if view.kind == "trial"}
    assert len(set(costs.values())) > 1


def loss_curve(view):
    height = 1.0 if view.kind == "probe" else loss_of(dict(view.assignment))
    return [height + 2.0 / epoch for epoch in range(1, 28)]


def lowest_and_epochs(strategy, seed):
    search = simulate(
        strategy, history(space=SPACE, objective=LOG_LOSS, trials=40, epochs=27, slots=4, seed=seed), loss_curve
    )
    losses = [loss_of(dict(view.assignment)) for view in search.history.trials if view.kind == "trial"]
    return min(losses), search.num_epochs


def test_it_beats_random_draws_by_a_wide_margin_on_a_quadratic_with_branches():
    random = [lowest_and_epochs(Composite(searcher=Random(), scheduler=AshaPromote()), seed)[0] for seed in range(4)]
    model = [lowest_and_epochs(both(), seed)[0] for seed in range(4)]
    assert statistics.mean(model) < 0.6 * statistics.mean(random)


@pytest.mark.parametrize("options", [{"startup": 0}, {"candidates": 1}, {"grace": 0}, {"reduction_factor": 1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Curves(**options)


def test_hyperparameters_are_learned_on_the_first_512_trials_at_most():
    space = branching_space()
    rng = np.random.default_rng(0)
    views = [trial(n, [float(rng.random())], status="pruned", assignment=space.sample(rng)) for n in range(1, 601)]
    now = history(space=space, trials=2000).replace(trials=tuple(views))
    strategy = Curves(grace=1)

    def learned(*, changed: int) -> object:
        values = (0.5, 0.6 + changed / 1000)
        then = [view.replace(values=values) if place == changed else view for place, view in enumerate(views)]
        strategy.suggest(now.replace(trials=tuple(then)), rungs=strategy.rungs(now.num_epochs))
        return strategy._kept["hyperparameters"][1]

    first = learned(changed=MOST_LEARNED)
    assert learned(changed=MOST_LEARNED + 20) is first
    assert learned(changed=MOST_LEARNED - 1) is not first
