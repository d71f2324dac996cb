import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.training.averaging import build_averaging

SETTINGS = [(entry.name, argument.name) for entry in catalog.entries("averaging") for argument in entry.arguments]
CHANGED = {"decay": 0.5, "start_fraction": 0.25, "num_snapshots": 2}


class Scalar(nn.Module):
    """A weight, its statistics, a counter and an index that no checkpoint holds."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.frozen = nn.Parameter(torch.full((1,), 7.0), requires_grad=False)
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("index", torch.arange(50), persistent=False)


def config(name, **changes):
    entry = catalog.entry("averaging", name)
    return {"name": name} | {argument.name: argument.default for argument in entry.arguments} | changes


def run(settings, values, *, average=None, network=None, start=0, num_steps=None):
    """Set the weight to each value in turn, updating the average; return the average."""
    network = Scalar() if network is None else network
    num_steps = len(values) if num_steps is None else num_steps
    average = build_averaging(settings, network, num_steps) if average is None else average
    for step, value in enumerate(values, start=start):
        with torch.no_grad():
            network.weight.fill_(value)
            network.mean.fill_(10 * value)
            network.count.fill_(step + 1)
        average.update(network, step)
    return average


def trace(settings, values):
    """The average after each update, None before there is one."""
    network, found = Scalar(), []
    average = build_averaging(settings, network, len(values))
    for step, value in enumerate(values):
        run(settings, [value], average=average, network=network, start=step)
        found.append(None if average.module is None else average.module.weight.item())
    return found


def test_an_ema_weighs_by_age_and_its_weights_add_up_to_one():
    values = [8.0, 4.0, 2.0]
    # Weights 1, 1/2 and 1/4 by age, over their sum.
    expected = [8.0, 8 / 1.5, 6 / 1.75]
    assert trace(config("ema", decay=0.5), values) == pytest.approx(expected, rel=1e-6)


def test_an_ema_with_a_long_memory_is_the_mean_of_a_short_trial():
    assert trace(config("ema", decay=0.99999), [1.0, 2.0, 6.0])[-1] == pytest.approx(3.0, abs=1e-3)


def test_swa_is_the_mean_of_snapshots_at_equal_distances_up_to_the_last_update():
    # 8 updates, the last 6 of them count: after updates 3, 5 and 7.
    settings = config("swa", start_fraction=0.25, num_snapshots=3)
    values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    means = [None, None, None, 8.0, 8.0, 20.0, 20.0, 56.0]
    assert trace(settings, values) == [None if mean is None else pytest.approx(mean) for mean in means]


def test_swa_takes_every_update_where_there_are_fewer_than_snapshots():
    settings = config("swa", start_fraction=0.5, num_snapshots=100)
    assert trace(settings, [1.0, 2.0, 3.0, 5.0]) == [None, None, 3.0, 4.0]


@given(st.integers(1, 300), st.floats(0, 0.99), st.integers(2, 400))
def test_swa_takes_the_last_update_and_no_more_than_its_snapshots(num_steps, start_fraction, num_snapshots):
    settings = config("swa", start_fraction=start_fraction, num_snapshots=num_snapshots)
    average, network = build_averaging(settings, nn.Linear(1, 1), num_steps), nn.Linear(1, 1)
    taken = []
    for step in range(num_steps):
        before = average.num_averaged
        average.update(network, step)
        taken += [step] if average.num_averaged > before else []
    assert taken[-1] == num_steps - 1
    assert taken[0] >= min(int(start_fraction * num_steps), num_steps - 1)
    assert len(taken) == min(num_snapshots, num_steps - min(int(start_fraction * num_steps), num_steps - 1))


@pytest.mark.parametrize("settings", [config("ema", decay=0.999), config("swa", start_fraction=0.0)])
def test_statistics_are_averaged_and_counters_and_indices_are_the_last(settings):
    average = run(settings, [1.0, 2.0, 6.0])
    module = average.module
    assert module.mean.item() == pytest.approx(10 * module.weight.item(), rel=1e-6)
    assert module.count == 3
    assert torch.equal(module.index, torch.arange(50))


def test_statistics_of_batch_norms_are_averaged():
    network = nn.BatchNorm1d(1)
    average = build_averaging(config("swa", start_fraction=0.0), network, 2)
    for step, mean in enumerate([2.0, 4.0]):
        network.running_mean.fill_(mean)
        average.update(network, step)
    assert average.module.running_mean.item() == 3.0


@pytest.mark.parametrize("settings", [config("ema", decay=0.9), config("swa", start_fraction=0.4, num_snapshots=3)])
@pytest.mark.parametrize("cut", [0, 2, 5])
def test_an_average_that_was_saved_and_loaded_goes_on_to_the_last_bit(settings, cut):
    values = [0.1, 0.7, -0.3, 0.9, 0.33, -1.7, 0.2, 0.05]
    whole = run(settings, values)
    network = Scalar()
    half = run(settings, values[:cut], network=network, num_steps=8)
    state = safetensors.torch.load(safetensors.torch.save(half.state()))
    loaded = build_averaging(settings, Scalar(), 8)
    loaded.load(state)
    assert (loaded.module is None) == (half.module is None)
    run(settings, values[cut:], average=loaded, network=network, start=cut)
    expected, reached = whole.state(), loaded.state()
    assert expected.keys() == reached.keys()
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


def test_there_is_no_average_before_the_first_snapshot():
    average = run(config("swa", start_fraction=0.9), [1.0, 2.0], num_steps=100)
    assert average.module is None
    assert list(average.state()) == ["num_averaged"]


def test_what_is_frozen_is_shared_and_not_saved():
    network = Scalar()
    average = run(config("ema"), [1.0], network=network)
    assert average.module.frozen is network.frozen
    assert average.module.weight is not network.weight
    assert not any(name.endswith("frozen") for name in average.state())


def test_the_network_itself_is_left_as_it_is():
    network = Scalar()
    run(config("ema"), [1.0, 3.0], network=network)
    assert network.weight.item() == 3.0
    assert network.mean.item() == 30.0


def test_none_averages_nothing():
    assert build_averaging({"name": "none"}, Scalar(), 10) is None


def test_unknown_averaging_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown averaging 'emma' at averaging\.name\. Did you mean 'ema'"):
        build_averaging({"name": "emma"}, Scalar(), 10)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_of_every_average_changes_it(name, setting):
    values = torch.randn(100, generator=torch.Generator().manual_seed(0)).tolist()
    entry = catalog.entry("averaging", name)
    assert all(argument.problem(argument.default) is None for argument in entry.arguments)
    assert config(name)[setting] != CHANGED[setting]
    assert trace(config(name), values)[-1] != trace(config(name, **{setting: CHANGED[setting]}), values)[-1]
