from collections.abc import Callable
from pathlib import Path

import torch

from autoft.core.configs import EpochResult, TrialConfig
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.tasks import state_hash
from autoft.training import checkpoint
from autoft.training.probe import Probe
from autoft.training.solver import minimise
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
    kept = checkpoint.load(Store.open(tmp_path), "best")
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
