import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.optim import build_schedule
from autoft.optim.schedules import Constant, Linear

SCHEDULES = [entry.name for entry in catalog.entries("schedule")]
CHANGED = {
    "warmup_fraction": 0.5,
    "min_factor": 0.5,
    "num_cycles": 2,
    "cycle_decay": 0.5,
    "power": 2.0,
    "peak_fraction": 0.5,
    "initial_factor": 0.5,
    "final_factor": 0.5,
    "num_drops": 1,
    "gamma": 0.5,
    "decay_fraction": 0.5,
    "shape": "linear",
    "patience": 1,
}
SETTINGS = [(entry.name, argument.name) for entry in catalog.entries("schedule") for argument in entry.arguments]


def config(name, **changes):
    entry = catalog.entry("schedule", name)
    return {"name": name} | {argument.name: argument.default for argument in entry.arguments} | changes


def trace(name, *, num_steps, count=None, **changes):
    schedule = build_schedule(config(name, **changes), num_steps=num_steps)
    return [schedule.factor(step) for step in range(num_steps + 1 if count is None else count)]


def close_to(values):
    return pytest.approx(values, abs=1e-15)


def test_cosine_has_exactly_these_factors():
    root = math.sqrt(0.5)
    factors = trace("cosine", num_steps=6, count=8, warmup_fraction=1 / 3, min_factor=0.2)
    assert factors == close_to([0.5, 1, 1, 0.6 + 0.4 * root, 0.6, 0.6 - 0.4 * root, 0.2, 0.2])


def test_linear_has_exactly_these_factors():
    factors = trace("linear", num_steps=9, count=11, warmup_fraction=4 / 9, min_factor=0.5)
    assert factors == close_to([0.25, 0.5, 0.75, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5])


def test_constant_has_exactly_these_factors():
    assert trace("constant", num_steps=4, warmup_fraction=0.5) == [0.5, 1, 1, 1, 1]


def test_cosine_restarts_has_exactly_these_factors():
    factors = trace(
        "cosine_restarts", num_steps=9, warmup_fraction=1 / 9, num_cycles=2, cycle_decay=0.5, min_factor=0.2
    )
    root = math.sqrt(0.5)
    first = [1, 0.6 + 0.4 * root, 0.6, 0.6 - 0.4 * root]
    second = [0.6, 0.4 + 0.2 * root, 0.4, 0.4 - 0.2 * root]
    assert factors == close_to([1, *first, *second, 0.2])


def test_a_cycle_begins_at_its_peak_also_where_its_share_is_no_binary_fraction():
    factors = trace("cosine_restarts", num_steps=147, num_cycles=49)
    assert factors[::3] == [1.0] * 49 + [0.0]


def test_polynomial_has_exactly_these_factors():
    factors = trace("polynomial", num_steps=4, power=2.0, min_factor=0.2)
    assert factors == close_to([1, 0.2 + 0.8 * 9 / 16, 0.4, 0.2 + 0.8 / 16, 0.2])


def test_one_cycle_has_exactly_these_factors():
    factors = trace("one_cycle", num_steps=6, count=8, peak_fraction=1 / 3, initial_factor=0.2, final_factor=0.1)
    root = math.sqrt(0.5)
    falling = [1, 0.55 + 0.45 * root, 0.55, 0.55 - 0.45 * root, 0.1, 0.1]
    assert factors == close_to([0.2, 0.6, *falling])


def test_step_has_exactly_these_factors():
    factors = trace("step", num_steps=7, warmup_fraction=1 / 7, num_drops=2, gamma=0.5)
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_exponential_has_exactly_these_factors():
    assert trace("exponential", num_steps=4, min_factor=1 / 16) == [1, 0.5, 0.25, 0.125, 0.0625]


def test_warmup_stable_decay_has_exactly_these_factors():
    shared = {"num_steps": 8, "warmup_fraction": 0.25, "decay_fraction": 0.5, "min_factor": 0.2}
    assert trace("wsd", **shared, shape="linear") == close_to([0.5, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    factors = trace("wsd", **shared, shape="1-sqrt")
    assert factors[4:] == close_to([1, 0.6, 1 - 0.8 * math.sqrt(0.5), 1 - 0.8 * math.sqrt(0.75), 0.2])


def test_a_decay_longer_than_what_the_warm_up_leaves_begins_after_it():
    factors = trace("wsd", num_steps=4, warmup_fraction=0.5, decay_fraction=1.0, shape="linear")
    assert factors == [0.5, 1, 1, 0.5, 0]


def test_plateau_drops_after_patience_epochs_without_a_new_best():
    schedule = build_schedule(config("plateau", gamma=0.5, patience=2, min_factor=0.2), num_steps=100)
    factors = []
    for value in [0.5, 0.5, 0.6, 0.6, 0.1, 0.1, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]:
        schedule.observe(value)
        factors.append(schedule.factor(50))
    assert factors == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


def test_plateau_takes_a_first_value_below_zero_as_the_best():
    schedule = build_schedule(config("plateau", gamma=0.5, patience=1), num_steps=10)
    for value in [-3.0, -2.0, -1.0]:
        schedule.observe(value)
    assert schedule.factor(5) == 1
    schedule.observe(-1.5)
    assert schedule.factor(5) == 0.5


@given(st.lists(st.floats(0, 1), max_size=20), st.lists(st.floats(0, 1), max_size=20), st.integers(1, 4))
def test_a_plateau_that_was_saved_and_loaded_goes_on_as_if_it_had_not_been(before, after, patience):
    whole, half = (build_schedule(config("plateau", patience=patience), num_steps=9) for _ in range(2))
    for value in before:
        whole.observe(value)
        half.observe(value)
    loaded = build_schedule(config("plateau", patience=patience), num_steps=9)
    loaded.load(json.loads(json.dumps(half.state())))
    for value in after:
        whole.observe(value)
        loaded.observe(value)
        assert loaded.factor(4) == whole.factor(4)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "plateau"])
def test_what_was_observed_changes_a_plateau_alone(name):
    schedule = build_schedule(config(name), num_steps=10)
    for value in [0.5, 0.4, 0.3, 0.2]:
        schedule.observe(value)
    assert schedule.state() == {}
    schedule.load({})
    assert [schedule.factor(step) for step in range(11)] == trace(name, num_steps=10)


@pytest.mark.parametrize("schedule", [Constant, Linear])
def test_a_warm_up_longer_than_the_trial_is_refused(schedule):
    with pytest.raises(ConfigError, match="warm-up of 5 updates is longer than the trial's 4"):
        schedule(num_steps=4, warmup_fraction=1.25)


def test_a_warm_up_of_one_update_is_none():
    assert trace("cosine", num_steps=10, warmup_fraction=0.1)[:2] == [1, 1]
    assert trace("cosine", num_steps=10, warmup_fraction=0.0)[0] == 1


def test_a_warm_up_may_last_the_whole_trial():
    assert trace("linear", num_steps=1, warmup_fraction=0.9, min_factor=0.25) == [1, 0.25]


def test_unknown_schedule_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'cosine'"):
        build_schedule({"name": "cosin"}, num_steps=2)


def any_value(argument):
    if argument.choices is not None:
        return st.sampled_from(argument.choices)
    if argument.type == "int":
        return st.integers(int(argument.low), int(argument.high))
    return st.floats(argument.low, argument.high, exclude_min=argument.low_open)


@st.composite
def schedules(draw):
    """(config, num_steps) of any schedule of the catalog."""
    entry = draw(st.sampled_from(list(catalog.entries("schedule"))))
    settings = {argument.name: draw(any_value(argument)) for argument in entry.arguments}
    return {"name": entry.name, **settings}, draw(st.integers(1, 400))


def end(settings):
    """The factor from the last update on; a plateau that observes nothing and a constant stay at 1."""
    match settings["name"]:
        case "constant" | "plateau":
            return 1.0
        case "step":
            return settings["gamma"] ** settings["num_drops"]
        case "one_cycle":
            return settings["final_factor"]
        case _:
            return settings["min_factor"]


@given(schedules())
def test_every_schedule_keeps_its_laws(drawn):
    settings, num_steps = drawn
    schedule = build_schedule(settings, num_steps=num_steps)
    factors = [schedule.factor(step) for step in range(num_steps + 2)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[num_steps] == factors[num_steps + 1] == close_to(end(settings))
    num_rising = round(settings.get("warmup_fraction", settings.get("peak_fraction")) * num_steps)
    rising, falling = factors[:num_rising], factors[num_rising:]
    assert rising == sorted(rising)
    if settings["name"] != "cosine_restarts":
        assert falling == sorted(falling, reverse=True)
    if num_rising < num_steps:
        assert factors[num_rising] == 1
    if settings["name"] != "one_cycle":
        assert factors[0] == (1 / num_rising if num_rising else 1)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_of_every_schedule_changes_it(name, setting):
    def observed(**changes):
        schedule = build_schedule(config(name, **changes), num_steps=12)
        factors = []
        for step in range(12):
            factors.append(schedule.factor(step))
            schedule.observe(0.5)
        return factors

    assert config(name)[setting] != CHANGED[setting]
    assert observed() != observed(**{setting: CHANGED[setting]})
