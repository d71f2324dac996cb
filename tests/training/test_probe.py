from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from autoft.core.configs import EpochResult, TrialConfig
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.tasks import state_hash
from autoft.training.checkpoint import Checkpoints
from autoft.training.probe import Probe
from autoft.training.probed import sample, take_solution
from autoft.training.solver import linear_head, minimise
from autoft.training.transferability import logme
from autoft.training.worker import open_trial
from tests.training.conftest import without_clock

Make = Callable[..., TrialConfig]


def test_a_probe_is_one_epoch_and_repeats_to_the_last_digit(
    make_config: Make, run: Callable[..., list[EpochResult]]
) -> None:
    config = make_config(finetune={"mode": "probe"}).replace(epochs=1)
    assert config.kind == "probe"
    first, second = run(config, name="a"), run(config, name="b")
    assert [result.status for result in first] == ["completed"]
    assert [without_clock(result) for result in first] == [without_clock(result) for result in second]


def test_the_network_with_the_probes_head_gives_the_probes_metrics(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    probe = open_trial(make_config(finetune={"mode": "probe"}), colours, store=Store.open(tmp_path))
    assert isinstance(probe, Probe)
    result = probe.run_epoch()
    quality = probe.bench.quality(probe.bench.logits("val"), "val")
    assert quality == {name: result.metrics[name] for name in quality}
    kept = Checkpoints(Store.open(tmp_path)).load("best")
    assert kept is not None
    assert set(kept.tensors) == {"head.linear.weight", "head.linear.bias"}
    assert state_hash(kept.tensors) == result.weights_sha256


def test_a_probe_reports_the_logme_of_its_training_features(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    probe = open_trial(make_config(finetune={"mode": "probe"}), colours, store=Store.open(tmp_path))
    assert isinstance(probe, Probe)
    result = probe.run_epoch()
    bench = probe.bench
    assert result.metrics["logme"] == logme(bench.frozen_features("train").double(), bench.targets("train"))


def test_a_probe_of_many_rows_is_solved_on_a_sample_with_a_share_of_each_class() -> None:
    targets = np.repeat([0, 1, 2], [60, 39, 1])
    rows = sample(targets, 10)
    assert rows is not None
    assert np.bincount(targets[rows]).tolist() in ([6, 4, 1], [6, 3, 1])
    assert np.array_equal(rows, np.unique(rows))
    assert np.array_equal(rows, sample(targets, 10))
    assert sample(targets, 100) is None


def test_a_sampled_probe_has_the_features_of_its_rows_and_the_metrics_of_its_head(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    config = make_config(finetune={"mode": "probe", "probe_rows": 9})
    probe = open_trial(config, colours, store=Store.open(tmp_path))
    assert isinstance(probe, Probe)
    result = probe.run_epoch()
    rows = sample(colours.targets("train"), 9)
    assert rows is not None
    assert len(rows) == 9
    features, whole = probe.bench.frozen_features("train", rows), probe.bench.frozen_features("train")
    torch.testing.assert_close(features, whole[torch.from_numpy(rows)])
    quality = probe.bench.quality(probe.bench.logits("val"), "val")
    assert quality == {name: result.metrics[name] for name in quality}


def test_a_solution_is_computed_once_for_all_that_begin_there(
    make_config: Make, colours: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    solutions: list[torch.Tensor] = []
    num_beats: list[int] = []
    for seed, mode in enumerate(("probe", "lp_ft")):
        beats: list[int] = []
        config = make_config(finetune={"mode": mode}, seed=seed)
        trial = open_trial(config, colours, store=Store.open(tmp_path / mode), heartbeat=partial(beats.append, 1))
        take_solution(trial.bench)
        solutions.append(linear_head(trial.bench.network).weight.detach().clone())
        num_beats.append(len(beats))
    assert torch.equal(*solutions)
    assert num_beats[1] < 10 < num_beats[0]


def test_the_solver_ends_where_the_gradient_is_zero() -> None:
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=draws, dtype=torch.float64)
    targets = torch.randint(3, (50,), generator=draws)
    weight = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    minimise(weight, bias, features, targets, 0.1)
    loss = torch.nn.functional.cross_entropy(features @ weight.T + bias, targets) + 0.05 * weight.square().sum()
    gradients = torch.autograd.grad(loss, [weight, bias])
    assert max(gradient.abs().max().item() for gradient in gradients) < 1e-5
