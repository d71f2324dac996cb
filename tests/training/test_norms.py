"""Statistics of batch norms: what training makes of them, a pass that does not count, and an average of weights."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from autoft.backbones.layers import batch_norms
from autoft.core.configs import TrialConfig
from autoft.core.errors import ConfigError
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.loop import Trial
from autoft.training.norms import computed_anew, kept_statistics
from autoft.training.worker import open_trial
from tests.conftest import TINY_IMAGE_BACKBONE

SWA = {"name": "swa", "start_fraction": 0.0, "num_snapshots": 6}


def trained(make_config: Callable[..., TrialConfig], colours: Dataset, store: Path, **sections: Any) -> Trial:
    config = make_config(epochs=1, batch_size=6, averaging=SWA, **sections)
    trial = open_trial(config, colours, store=Store.open(store))
    assert isinstance(trial, Trial)
    trial.run_epoch()
    return trial


def seen_by(norm: nn.Module, trial: Trial) -> Tensor:
    """Return what a part of the averaged network gets from all training rows, (C, values)."""
    found: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _part, inputs: found.append(inputs[0]))
    trial.bench.logits("train", trial._updates.average.module)  # type: ignore[union-attr]
    handle.remove()
    return torch.cat(found).transpose(0, 1).flatten(1)


def test_the_batch_norms_of_a_stochastic_average_have_the_statistics_of_the_training_rows(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    trial = trained(make_config, colours, tmp_path)
    module = trial._updates.average.module  # type: ignore[union-attr]
    norm = next(part for part in module.modules() if isinstance(part, nn.BatchNorm2d))
    values = seen_by(norm, trial)
    torch.testing.assert_close(norm.running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, values.var(1), rtol=0.05, atol=1e-5)
    assert norm.momentum == 0.1
    assert not any(part.training for part in module.modules())


def test_frozen_batch_norms_of_an_average_keep_their_statistics(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    trial = trained(make_config, colours, tmp_path, finetune={"mode": "partial", "frozen_groups": 2})
    norms = {
        name: part
        for name, part in trial._updates.average.module.named_modules()  # type: ignore[union-attr]
        if isinstance(part, nn.BatchNorm2d)
    }
    counts = {name: int(norm.num_batches_tracked) for name, norm in norms.items()}
    assert {name for name, count in counts.items() if count == 0} == {
        name for name, norm in norms.items() if not any(weight.requires_grad for weight in norm.parameters())
    }
    # 36 rows, in two batches.
    assert set(counts.values()) == {0, 2}


def test_an_average_computes_no_statistics_anew_that_are_kept(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path, pretrained: dict[str, Any]
) -> None:
    trial = trained(make_config, colours, tmp_path, backbone=pretrained)
    average = trial._updates.average.module  # type: ignore[union-attr]
    kept = load_file(pretrained["weights"])
    assert all(torch.equal(value, kept[name]) for name, value in average.backbone.named_buffers())


@pytest.mark.parametrize("batch_norm", ["pretrained", "batch"])
@pytest.mark.parametrize("mode", ["full", "partial", "gradual", "norm_bias"])
def test_in_training_statistics_stay_as_pretrained_or_become_those_of_the_batches(
    make_config: Callable[..., TrialConfig],
    colours: Dataset,
    tmp_path: Path,
    pretrained: dict[str, Any],
    *,
    mode: str,
    batch_norm: str,
) -> None:
    config = make_config(epochs=2, backbone=pretrained | {"batch_norm": batch_norm}, finetune={"mode": mode})
    trial = open_trial(config, colours, store=Store.open(tmp_path))
    assert isinstance(trial, Trial)
    trial.run_epoch()
    trial.run_epoch()
    before = load_file(pretrained["weights"])
    after = trial.bench.backbone.module
    # By default the first layer group, the stem, is frozen in mode partial.
    norms = {name for name in batch_norms(after) if mode != "partial" or name.startswith("layer")}
    moved = {name for name, buffer in after.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == (
        {f"{name}.{buffer}" for name in norms for buffer in ("running_mean", "running_var", "num_batches_tracked")}
        if batch_norm == "batch"
        else set()
    )
    assert all(
        not torch.equal(after.get_parameter(f"{name}.{weight}"), before[f"{name}.{weight}"])
        for name in norms
        for weight in ("weight", "bias")
    )


def test_fresh_layers_have_no_statistics_to_keep_and_take_those_of_the_batches(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path, pretrained: dict[str, Any]
) -> None:
    config = make_config(epochs=1, backbone=pretrained, finetune={"mode": "full", "reinit_groups": 2})
    trial = open_trial(config, colours, store=Store.open(tmp_path))
    assert isinstance(trial, Trial)
    trial.run_epoch()
    before = load_file(pretrained["weights"])
    counts = {name: int(norm.num_batches_tracked) for name, norm in batch_norms(trial.bench.backbone.module).items()}
    updates = trial._updates.num_updates
    assert counts == {
        name: updates if name.startswith(("layer3.", "layer4.")) else int(before[f"{name}.num_batches_tracked"])
        for name in counts
    }


def test_random_weights_have_no_statistics_to_keep_and_take_those_of_the_batches(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    trial = open_trial(make_config(epochs=1), colours, store=Store.open(tmp_path))
    assert isinstance(trial, Trial)
    trial.run_epoch()
    norms = batch_norms(trial.bench.network).values()
    assert {int(norm.num_batches_tracked) for norm in norms} == {trial._updates.num_updates}


def test_statistics_are_those_of_equal_shares_of_the_batches_and_nothing_else_is_random() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5)).eval()
    batches = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [10.0]])]
    torch.manual_seed(0)
    with computed_anew([network[0]]):
        outputs = [network(batch) for batch in batches]
    norm = network[0]
    assert norm.running_mean.item() == 4.0
    assert norm.running_var.item() == pytest.approx((2.0 + 18.0) / 2)
    assert torch.equal(outputs[0], torch.tensor([[-1.0], [1.0]]) / (1 + 1e-5) ** 0.5)
    assert (norm.momentum, norm.training) == (0.1, False)


def test_kept_statistics_are_as_before_and_the_pass_normalises_by_its_batch() -> None:
    norm = nn.BatchNorm1d(1)
    with kept_statistics(norm):
        output = norm(torch.tensor([[0.0], [2.0]]))
    assert output.mean().item() == 0.0
    assert (norm.running_mean.item(), norm.running_var.item(), int(norm.num_batches_tracked)) == (0.0, 1.0, 0)


def test_a_batch_size_of_one_whose_norms_see_a_single_value_is_refused_in_a_sentence(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_trial(make_config(batch_size=1), colours, store=Store.open(tmp_path))
    assert str(caught.value) == (
        "batch_size 1 leaves the batch norms of timm:test_resnet a single value a channel, which has no variance. Take "
        "a batch_size of 2 or more, larger inputs, or a backbone without batch norms."
    )
    config = dataclasses.replace(make_config(batch_size=4), epochs_per_pass=19)
    with pytest.raises(
        ConfigError, match=r"^epochs_per_pass 19 with 36 training rows leaves .* fewer epochs to a pass"
    ):
        open_trial(config, colours, store=Store.open(tmp_path))


def test_no_batch_is_a_single_row_where_norms_would_see_a_single_value(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    config = dataclasses.replace(make_config(epochs=5, batch_size=2), epochs_per_pass=5)
    trial = open_trial(config, colours, store=Store.open(tmp_path))
    assert isinstance(trial, Trial)
    dealt = [list(trial._updates.batches.deal(epoch)) for epoch in range(1, 6)]
    assert [len(updates) for updates in dealt] == [3] * 5
    batches = [rows for updates in dealt for update in updates for rows in update]
    assert {len(rows) for rows in batches} == {2, 3}
    assert sorted(row for rows in batches for row in rows.tolist()) == list(range(36))
    for epoch in range(1, 6):
        assert trial.run_epoch().epoch == epoch


def test_single_rows_whose_norms_see_many_values_are_trained_on(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    backbone = TINY_IMAGE_BACKBONE | {"input_size": 64}
    trial = open_trial(make_config(epochs=1, batch_size=1, backbone=backbone), colours, store=Store.open(tmp_path))
    assert isinstance(trial, Trial)
    norms = batch_norms(trial.bench.network).values()
    assert all(int(norm.num_batches_tracked or 0) == 0 for norm in norms)  # the trial was opened without a trace
    assert trial._updates.num_updates == 36
    assert trial.run_epoch().metrics["train_loss"] is not None
