import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from autoft.core.configs import EpochResult, TrialConfig
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.checkpoint import Checkpoints
from autoft.training.loop import Trial
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench
from autoft.training.worker import open_trial
from tests.training.conftest import without_clock

Make = Callable[..., TrialConfig]
Run = Callable[..., list[EpochResult]]
ADAMW = {"name": "adamw", "lr": 3e-3}


def open_here(config: TrialConfig, dataset: Dataset, store: Path, **given: Any) -> Trial:
    trial = open_trial(config, dataset, store=Store.open(store), **given)
    assert isinstance(trial, Trial)
    return trial


def test_a_trial_learns_what_a_colour_is(make_config: Make, run: Run) -> None:
    results = run(make_config(epochs=6, optimizer=ADAMW, batch_size=8))
    assert [result.epoch for result in results] == [1, 2, 3, 4, 5, 6]
    assert [result.status for result in results] == ["running"] * 5 + ["completed"]
    assert max(result.metrics["val_accuracy"] for result in results) >= 0.9
    assert results[-1].metrics["train_loss"] < results[0].metrics["train_loss"]


def test_the_same_configuration_gives_the_same_digits_twice(make_config: Make, run: Run) -> None:
    config = make_config(augmentation={"name": "randaugment"}, batch_size=8)
    first, second = run(config, name="a"), run(config, name="b")
    assert [without_clock(result) for result in first] == [without_clock(result) for result in second]


def test_another_seed_gives_other_weights(make_config: Make, run: Run) -> None:
    hashes = {run(make_config(epochs=1, seed=seed), name=str(seed))[0].weights_sha256 for seed in (1, 2)}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {
            "optimizer": {"name": "sgd", "lr": 0.01},
            "averaging": {"name": "ema", "decay": 0.9},
            "augmentation": {"name": "flip"},
        },
        {"finetune": {"mode": "head"}, "augmentation": {"name": "none"}},
        {"finetune": {"mode": "head"}, "augmentation": {"name": "crop_flip"}},
    ],
    ids=["full", "ema", "head", "head-augmented"],
)
def test_a_trial_that_was_cut_between_epochs_ends_as_one_that_was_not(
    make_config: Make, colours: Dataset, tmp_path: Path, sections: dict[str, Any]
) -> None:
    config = make_config(epochs=4, batch_size=8, **sections)
    whole = open_here(config, colours, tmp_path / "whole")
    expected = [without_clock(whole.run_epoch()) for _ in range(4)]
    seen = []
    for epoch in range(4):
        trial = open_here(config, colours, tmp_path / "cut", epochs_recorded=epoch)
        seen.append(without_clock(trial.run_epoch()))
    assert seen == expected


def test_an_epoch_nobody_heard_of_is_told_and_not_trained_again(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    config = make_config(epochs=3)
    first = open_here(config, colours, tmp_path).run_epoch()
    again = open_here(config, colours, tmp_path, epochs_recorded=0)
    told = again.run_epoch()
    assert without_clock(told) == without_clock(first)
    assert again.run_epoch().epoch == 2


def test_an_epoch_that_is_recorded_but_lost_is_trained_again_and_not_told_twice(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    config = make_config(epochs=3)
    whole = open_here(config, colours, tmp_path / "whole")
    expected = [without_clock(whole.run_epoch()) for _ in range(3)]
    lost = open_here(config, colours, tmp_path / "nothing-there", epochs_recorded=2)
    assert without_clock(lost.run_epoch()) == expected[2]


def test_where_the_state_to_go_on_from_is_lost_the_best_weights_stay_until_they_are_trained_again(
    make_config: Make, colours: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(epochs=4, optimizer={"name": "adamw", "lr": 1e-3}, batch_size=8)
    trial = open_here(config, colours, tmp_path)
    results = [trial.run_epoch() for _ in range(3)]
    assert [result.is_best for result in results][1:] != [False, False]
    kept = safetensors.torch.load_file(tmp_path / "best.safetensors")
    (tmp_path / "last.safetensors").unlink()
    again = open_here(config, colours, tmp_path, epochs_recorded=3)
    assert "is lost: 3 epochs are trained again" in caplog.text
    best = max(result.epoch for result in results if result.is_best)
    for epoch in range(1, best + 1):
        assert without_clock(again._next_epoch()) == without_clock(results[epoch - 1])
        there = safetensors.torch.load_file(tmp_path / "best.safetensors")
        assert all(torch.equal(there[name], tensor) for name, tensor in kept.items())
    assert again.run_epoch().epoch == 4


def test_a_checkpoint_of_another_configuration_is_not_used(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    open_here(make_config(seed=1), colours, tmp_path).run_epoch()
    assert open_here(make_config(seed=2), colours, tmp_path).epoch == 0


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged(make_config: Make, run: Run) -> None:
    backbone = {"name": "timm:test_vit", "weights": "none", "input_size": 160}
    sgd = {"name": "sgd", "lr": 10.0, "momentum": 0.99, "weight_decay": 1.0}
    results = run(make_config(backbone=backbone, epochs=9, optimizer=sgd, clip_norm=None, batch_size=4))
    assert results[-1].status == "diverged"
    assert "not finite" in results[-1].reason
    assert results[-1].is_best is False
    json.dumps(results[-1].to_json(), allow_nan=False)


def test_patience_ends_a_trial_that_does_not_improve(make_config: Make, run: Run) -> None:
    results = run(make_config(epochs=20, patience=2, optimizer={"name": "sgd", "lr": 1e-12}))
    assert [result.is_best for result in results] == [True, False, False]
    assert results[-1].status == "early_stopped"
    assert results[-1].reason == "No improvement in 2 epochs."


def test_every_row_is_trained_on_once_an_epoch(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    trial = open_here(make_config(batch_size=7, accumulation=2), colours, tmp_path)
    updates = list(trial._updates.batches.deal(1))
    assert [[len(rows) for rows in batches] for batches in updates] == [[6, 6]] * 3
    assert sorted(np.concatenate([rows for batches in updates for rows in batches]).tolist()) == list(range(36))


@pytest.mark.parametrize(("parts", "sizes"), [(1, (7, 6)), (3, (5, 3)), (4, (32, 1)), (7, (1, 5)), (36, (4, 1))])
def test_the_epochs_of_a_pass_train_on_every_row_once_in_equal_shares(
    parts: int, sizes: tuple[int, int], make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    batch_size, updates = sizes
    backbone = {"name": "timm:test_vit", "weights": "none", "input_size": 160}  # without batch norms: rows may be alone
    config = make_config(backbone=backbone, batch_size=batch_size, epochs=6).replace(epochs_per_pass=parts)
    trial = open_here(config, colours, tmp_path)
    passes = [[list(trial._updates.batches.deal(first + part)) for part in range(1, parts + 1)] for first in (0, parts)]
    orders = []
    for epochs in passes:
        assert [len(epoch) for epoch in epochs] == [updates] * parts
        orders.append([row for epoch in epochs for batches in epoch for row in np.concatenate(batches).tolist()])
        assert sorted(orders[-1]) == list(range(36))
    assert orders[0] != orders[1]


def test_a_share_of_the_data_has_its_own_mean_loss_and_goes_on_after_a_kill(
    make_config: Make, colours: Dataset, tmp_path: Path, run: Run
) -> None:
    config = make_config(epochs=4, batch_size=6).replace(epochs_per_pass=3)
    whole = run(config)
    assert [result.epoch for result in whole] == [1, 2, 3, 4]
    assert all(0.0 < result.metrics["train_loss"] < 3.0 for result in whole)
    open_here(config, colours, tmp_path / "cut").run_epoch()
    rest = open_here(config, colours, tmp_path / "cut", epochs_recorded=1)
    assert rest.run_epoch().weights_sha256 == whole[1].weights_sha256


def test_accumulated_batches_step_like_one_large_batch(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    backbone = {"name": "timm:test_vit", "weights": "none", "input_size": 160}
    weights = []
    for name, sizes in {"large": (12, 1), "small": (4, 3)}.items():
        config = make_config(
            backbone=backbone, epochs=1, batch_size=sizes[0], accumulation=sizes[1], augmentation={"name": "none"}
        )
        trial = open_here(config, colours, tmp_path / name)
        trial.run_epoch()
        weights.append(torch.cat([p.detach().flatten() for p in trial.bench.network.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=2e-5)


def test_head_only_leaves_the_backbone_and_its_statistics_as_they_were(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    trial = open_here(make_config(finetune={"mode": "head"}), colours, tmp_path)
    before = {name: tensor.clone() for name, tensor in trial.bench.network.backbone.state_dict().items()}
    head = trial.bench.network.head.state_dict()["linear.weight"].clone()
    trial.run_epoch()
    after = trial.bench.network.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(head, trial.bench.network.head.state_dict()["linear.weight"])


def test_layer_decay_slows_groups_toward_the_input(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    trial = open_here(
        make_config(finetune={"mode": "full", "layer_decay": 0.5}, head={"name": "linear", "lr_multiplier": 3.0}),
        colours,
        tmp_path,
    )
    scales = {id(p): group.lr_scale for group in trial._plan.groups for p in group.parameters}
    depth = len(trial.bench.backbone.layer_groups)
    for index, (_, parameters) in enumerate(trial.bench.backbone.layer_groups):
        assert {scales[id(p)] for p in parameters} == {0.5 ** (depth - index)}
    assert {scales[id(p)] for p in trial.bench.network.head.parameters()} == {3.0}


def test_the_best_checkpoint_holds_the_weights_of_the_best_epoch(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    config = make_config(epochs=5, batch_size=8, optimizer=ADAMW)
    trial = open_here(config, colours, tmp_path)
    results = [trial.run_epoch() for _ in range(5)]
    best = [result for result in results if result.is_best][-1]
    kept = Checkpoints(Store.open(tmp_path)).load("best")
    assert kept is not None
    assert kept.about["epoch"] == best.epoch
    bench = Workbench.set_up(trial.config, colours, warm=WarmCache())
    bench.network.load_state_dict(kept.tensors)
    quality = bench.quality(bench.logits("val"), "val")
    assert quality == {name: best.metrics[name] for name in quality}


def test_metrics_are_those_of_a_row_by_row_pass(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    trial = open_here(make_config(), colours, tmp_path)
    result = trial.run_epoch()
    network = trial.bench.network.eval()
    encoded = trial.bench.encoded("val")
    right = 0
    with torch.inference_mode():
        for row, target in enumerate(colours.targets("val")):
            finished = trial.bench.inputs.finish(trial.bench.inputs.batch(encoded, [row]), "cpu", channels_last=True)
            right += int(network(*finished).argmax().item() == target)
    assert result.metrics["val_accuracy"] == right / colours.num_rows("val")


def test_the_moving_average_is_what_is_validated_and_kept(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    trial = open_here(
        make_config(averaging={"name": "ema", "decay": 0.99}, optimizer=ADAMW, batch_size=8), colours, tmp_path
    )
    trial.run_epoch()
    kept = Checkpoints(Store.open(tmp_path)).load("best")
    assert kept is not None
    assert not torch.equal(kept.tensors["head.linear.weight"], trial.bench.network.state_dict()["head.linear.weight"])


def test_the_learning_rate_is_the_schedules_at_the_last_update(make_config: Make, run: Run) -> None:
    config = make_config(
        epochs=2,
        batch_size=9,
        optimizer={"name": "adamw", "lr": 1e-3},
        schedule={"name": "cosine", "warmup_fraction": 0.0},
    )
    rates = [result.learning_rate for result in run(config)]
    expected = [1e-3 * (1 + math.cos(math.pi * update / 8)) / 2 for update in (3, 7)]
    assert rates == pytest.approx(expected)


def test_a_recorded_execution_is_obeyed(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    filled = open_here(make_config(), colours, tmp_path / "a").config
    obeyed = filled.replace(execution={**filled.execution, "channels_last": False, "eval_batch": 5, "micro_batch": 3})
    trial = open_here(obeyed, colours, tmp_path / "b")
    assert trial.config == obeyed
    assert trial.bench.execution.eval_batch == 5
    passes: list[tuple[bool, int]] = []
    trial.bench.network.register_forward_hook(lambda part, inputs, _: passes.append((part.training, len(inputs[0]))))
    trial.run_epoch()
    assert passes.count((True, 3)) == 12
    assert {rows for is_training, rows in passes if is_training} == {3}
    assert {rows for is_training, rows in passes if not is_training} == {5, 2, 1}


def test_the_heart_beats_at_least_once_a_batch(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    beats: list[int] = []
    trial = open_here(make_config(batch_size=4), colours, tmp_path, heartbeat=lambda: beats.append(1))
    before = len(beats)
    trial.run_epoch()
    assert len(beats) - before >= 9
