import statistics

import pytest

from autoft.core.errors import ConfigError
from autoft.space import Choice, SearchSpace
from autoft.strategies import Composite
from autoft.strategies.asha import Asha
from autoft.strategies.random import Random
from autoft.strategies.rung_evidence import gather
from autoft.strategies.rungs import RunToEnd
from autoft.strategies.simulate import simulate
from autoft.strategies.tpe import TPE
from autoft.strategies.tpe_hyperopt import HyperoptTPE
from tests.strategies.worlds import LOG_LOSS, branching_space, history, loss_of, trial

RUNGS = (1, 3, 9)
BOTH = pytest.mark.parametrize("tpe", [TPE, HyperoptTPE], ids=["own", "hyperopt"])


def with_trials(*views, **more):
    return history(**more).replace(trials=views)


def ranks(evidence):
    return [loss for _, loss in evidence.losses]


def test_losses_come_from_the_highest_rung_that_enough_trials_reached():
    views = [trial(1, [0.1] * 9, status="completed"), trial(2, [0.2] * 3), trial(3, [0.3] * 3), trial(4, [0.4])]
    now = with_trials(*views)
    assert [gather(now, RUNGS, at_least=n).rung for n in (1, 2, 3, 4)] == [9, 3, 3, 1]
    assert gather(now, RUNGS, at_least=5) is None


def test_a_loss_is_the_rank_of_the_best_up_to_the_rung():
    views = [trial(1, [0.5, 0.6, 0.7]), trial(2, [0.5, 0.8, 0.6, 0.99], until=9), trial(3, [0.1, 0.1, 0.9])]
    assert ranks(gather(with_trials(*views), RUNGS, at_least=3)) == [2.0, 1.0, 0.0]
    assert ranks(gather(with_trials(*views, objective=LOG_LOSS), RUNGS, at_least=3)) == [1.0, 1.0, 0.0]


def test_a_trial_that_was_cut_before_the_rung_counts_as_worse_than_all_that_came():
    cut = [trial(1, [0.9, 0.9, 0.9], status="pruned"), trial(2, [0.8], status="pruned")]
    cut.append(trial(3, [0.95], status="pruned"))
    evidence = gather(with_trials(*cut, trial(4, [0.1] * 9), trial(5, [0.2] * 9)), RUNGS, at_least=2)
    assert (evidence.rung, evidence.num_came, evidence.num_cut) == (9, 2, 3)
    assert ranks(evidence) == [2.0, 4.0, 3.0, 1.0, 0.0]


def test_a_trial_in_flight_counts_as_mediocre():
    views = [trial(n, [value] * 3) for n, value in enumerate([0.1, 0.5, 0.9], 1)]
    evidence = gather(with_trials(*views, trial(4, [0.99], until=3), trial(5, [], until=1)), RUNGS, at_least=3)
    assert ranks(evidence) == [2.0, 1.0, 0.0, 1.0, 1.0]
    assert evidence.num_pending == 2


def test_a_trial_without_a_finite_value_counts_as_worst():
    views = [trial(1, [0.2]), trial(2, [None], status="diverged"), trial(3, [0.8]), trial(4, [], status="diverged")]
    evidence = gather(with_trials(*views), (1, 3), at_least=3)
    assert ranks(evidence) == [1.0, 2.0, 0.0, 2.0]


def test_diverged_trials_make_no_rung_that_few_came_to():
    diverged = [trial(n, [0.1, None], status="diverged") for n in (1, 2, 3)]
    evidence = gather(with_trials(*diverged, trial(4, [0.2] * 9), trial(5, [0.3])), RUNGS, at_least=2)
    assert (evidence.rung, evidence.num_came, evidence.num_cut) == (1, 5, 0)
    assert gather(with_trials(*diverged, trial(4, [0.2] * 9)), (3, 9), at_least=2).rung == 3


def test_failed_trials_and_probes_are_no_evidence():
    probe = trial(1, [0.9]).replace(trial="p01", kind="probe", status="probe")
    now = with_trials(probe, trial(1, [0.5], status="failed"), trial(2, [0.5]))
    assert len(gather(now, RUNGS, at_least=1).losses) == 1


def test_while_nothing_is_finite_the_space_is_drawn_from():
    now = with_trials(*[trial(n, [None], status="diverged") for n in range(1, 10)])
    assert gather(now, RUNGS, at_least=3) is None


@BOTH
def test_reasons_name_the_rung_and_what_was_assumed(tpe):
    space = branching_space()
    views = [
        trial(n, [0.1 * n] * 3, assignment=Random().suggest(history(seed=n), rungs=RUNGS).assignment)
        for n in range(1, 9)
    ]
    searcher = tpe(startup=7)
    now = with_trials(
        *views[:7],
        views[7].replace(values=(0.2,), status="pruned"),
        trial(9, [], until=1, assignment=space.default()),
        space=space,
    )
    assert searcher.suggest(now, rungs=RUNGS).reason == (
        "TPE on the losses of 7 trials at rung 3, 1 cut or diverged as worse, 1 in flight as mediocre"
    )
    few = now.replace(trials=now.trials[:3])
    assert searcher.suggest(few, rungs=RUNGS).reason == "a random draw: fewer than 7 trials came to rung 1"


@BOTH
def test_what_was_tried_is_tried_again_only_when_nothing_else_is_left(tpe):
    space = SearchSpace(
        task="image-classification", backbone={"name": "timm:resnet18"}, batch_size=Choice([8, 16, 32, 64])
    )
    search = simulate(
        Composite(searcher=tpe(startup=2), scheduler=RunToEnd()),
        history(space=space, trials=6, epochs=1, slots=1),
        lambda view: [1.0 / view.assignment.get("batch_size", 1)],
    )
    sizes = [view.assignment["batch_size"] for view in search.history.trials if view.kind == "trial"]
    assert sorted(sizes[:4]) == [8, 16, 32, 64]
    assert "tried before" in search.decisions[-3].reason or any("tried before" in d.reason for d in search.decisions)


def searched(searcher, seed, scheduler):
    """Return the lowest loss of 40 trials on four workers, and the median of what was started last."""
    now = history(objective=LOG_LOSS, trials=40, epochs=9, slots=4, seed=seed)

    def curve(view):
        height = 1.0 if view.kind == "probe" else loss_of(dict(view.assignment))
        return [height + 2.0 / epoch for epoch in range(1, 10)]

    search = simulate(Composite(searcher=searcher, scheduler=scheduler), now, curve)
    losses = [loss_of(dict(view.assignment)) for view in search.history.trials if view.kind == "trial"]
    return min(losses), statistics.median(losses[-15:])


@BOTH
@pytest.mark.parametrize("scheduler", [RunToEnd(), Asha(grace=1)], ids=["none", "asha"])
def test_tpe_beats_random_by_a_wide_margin_on_a_quadratic_with_branches(scheduler, tpe):
    random = [searched(Random(), seed, scheduler) for seed in range(8)]
    model = [searched(tpe(), seed, scheduler) for seed in range(8)]
    assert statistics.mean(best for best, _ in model) < 0.7 * statistics.mean(best for best, _ in random)
    assert statistics.mean(last for _, last in model) < 0.5 * statistics.mean(last for _, last in random)


@pytest.mark.parametrize("options", [{"startup": 0}, {"candidates": 0}, {"gamma": 0.0}, {"gamma": 1.5}])
@BOTH
def test_options_out_of_range_are_refused(options, tpe):
    with pytest.raises(ConfigError, match=next(iter(options))):
        tpe(**options)
