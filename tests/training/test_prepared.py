"""What trials share by way of the shelf: encoded rows and frozen features, made once and the same wherever they lie."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoft.core.configs import DataSpec, TrialConfig
from autoft.core.errors import DataError
from autoft.core.storage import Store
from autoft.data import Dataset, open_dataset, prepare
from autoft.training import prepared as prepared_module
from autoft.training import warm as warm_module
from autoft.training.prepared import features_key
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench
from autoft.training.worker import open_trial
from tests.conftest import TINY_IMAGE_BACKBONE, write_pictures
from tests.training.conftest import without_clock

Make = Callable[..., TrialConfig]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; returns the folder of prepared data."""
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


def bench_of(config: TrialConfig, dataset: Dataset, **given: Any) -> Workbench:
    """Return a bench in a worker that is new: nothing of it is warm."""
    return Workbench.set_up(config, dataset, **{"warm": WarmCache(), **given})


def results_of(config: TrialConfig, dataset: Dataset, folder: Path) -> list[dict[str, Any]]:
    """Return what a trial reports, in a worker that is new."""
    trial = open_trial(config, dataset, store=Store.open(folder))
    return [without_clock(trial.run_epoch()) for _ in range(config.epochs)]


@pytest.mark.parametrize("mode", ["head", "lp_ft"])
def test_a_result_does_not_depend_on_the_cache(
    make_config: Make, colours: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    config, out = make_config(finetune={"mode": mode}, augmentation={"name": "none"}, epochs=2), cache.parents[1]
    cold = results_of(config, colours, out / "cold")
    # Rows and features of two splits, and the head of LP-FT.
    assert len(list(cache.iterdir())) == {"head": 4, "lp_ft": 5}[mode]
    warm = results_of(config, colours, out / "warm")
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = results_of(config, colours, out / "cut")
    monkeypatch.setenv("AUTOFT_CACHE_GB", "0")
    without = results_of(config, colours, out / "without")
    assert cold == warm == cut == without


def test_pictures_are_read_once_on_a_machine(make_config: Make, cache: Path, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", per_class=8)
    dataset = open_dataset(prepare(str(data), DataSpec(source=str(data)), out=tmp_path / "out").path)
    first = bench_of(make_config(), dataset)
    expected = first.inputs.batch(first.encoded("train"), range(dataset.num_rows("train")))
    shutil.rmtree(data)
    second = bench_of(make_config(), dataset)
    found = second.inputs.batch(second.encoded("train"), range(dataset.num_rows("train")))
    assert torch.equal(found[0], expected[0])
    with pytest.raises(DataError, match="A picture of the search is gone"):
        second.encoded("val")


def test_features_are_computed_once_on_a_machine(make_config: Make, colours: Dataset, cache: Path) -> None:
    first = bench_of(make_config(), colours).frozen_features("train")
    second = bench_of(make_config(), colours)
    second.network.backbone = torch.nn.Identity()
    assert torch.equal(second.frozen_features("train"), first)
    assert second.frozen_features("train").shape == (36, second.backbone.num_features)


def test_features_are_those_of_a_plain_forward_pass(make_config: Make, colours: Dataset, cache: Path) -> None:
    bench = bench_of(make_config(), colours)
    rows = bench.inputs.batch(bench.encoded("train"), range(32))
    with torch.inference_mode():
        inputs = bench.inputs.finish(rows, "cpu", channels_last=bench.execution.channels_last)
        expected = bench.network.eval().backbone(*inputs)
    assert torch.equal(bench.frozen_features("train")[:32], expected)


def test_features_are_a_tensor_of_their_own_that_a_trial_may_write_to(
    make_config: Make, colours: Dataset, cache: Path
) -> None:
    bench_of(make_config(), colours).frozen_features("train").zero_()
    assert bench_of(make_config(), colours).frozen_features("train").abs().max() > 0


def key_of(bench: Workbench) -> dict[str, Any]:
    return features_key(bench.dataset, "train", bench.backbone, bench.execution, bench.config)


@pytest.mark.parametrize("change", [{"batch_size": 64}, {"finetune": {"mode": "head"}}, {"optimizer": {"name": "sgd"}}])
def test_recipes_on_one_backbone_share_its_features(
    make_config: Make, colours: Dataset, cache: Path, change: dict[str, Any]
) -> None:
    assert key_of(bench_of(make_config(**change), colours)) == key_of(bench_of(make_config(), colours))


def test_dropped_paths_change_no_features(make_config: Make, colours: Dataset, cache: Path) -> None:
    backbone = {"name": "timm:test_vit", "weights": "none", "input_size": 32}
    plain, dropping = (bench_of(make_config(backbone={**backbone, "drop_path": rate}), colours) for rate in (0.0, 0.5))
    assert key_of(plain) == key_of(dropping)
    passes = [bench._forward(bench.network.features, "train") for bench in (plain, dropping)]
    assert torch.equal(*passes)


@pytest.mark.parametrize("change", [{"threads": 3}, {"dtype": "bfloat16"}, {"device_name": "another"}])
def test_what_can_change_a_digit_of_features_is_in_their_key(
    make_config: Make, colours: Dataset, cache: Path, change: dict[str, Any]
) -> None:
    bench = bench_of(make_config(), colours)
    config = bench.config.replace(execution={**bench.config.execution, **change})
    assert key_of(bench_of(config, colours)) != key_of(bench)


def test_other_sizes_weights_or_rows_are_other_features(make_config: Make, colours: Dataset, cache: Path) -> None:
    bench = bench_of(make_config(), colours)
    larger = bench_of(make_config(backbone={**TINY_IMAGE_BACKBONE, "input_size": 64}), colours)
    assert key_of(larger) != key_of(bench)
    assert features_key(colours, "val", bench.backbone, bench.execution, bench.config) != key_of(bench)
    bench.backbone.weights["sha256"] = "0" * 64
    assert key_of(bench) != key_of(bench_of(make_config(), colours))


def test_rows_are_encoded_once_for_backbones_of_one_size(make_config: Make, colours: Dataset, cache: Path) -> None:
    bench_of(make_config(), colours).encoded("train")
    other = {"name": "timm:test_efficientnet", "weights": "none", "input_size": 32}
    bench_of(make_config(backbone=other), colours).encoded("train")
    assert len(list(cache.iterdir())) == 1


def test_how_far_the_pictures_are_is_said_in_the_log(
    make_config: Make,
    colours: Dataset,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prepared_module, "TELL_SECONDS", 0.0)
    monkeypatch.setattr("autoft.tasks.inputs.images.BATCH_BYTES", 16 * 3 * 32 * 32)
    caplog.set_level(logging.INFO, logger="autoft")
    bench_of(make_config(), colours).encoded("train")
    assert [record.message for record in caplog.records] == [
        "Preparing pictures (train): 16 of 36.",
        "Preparing pictures (train): 32 of 36.",
        "Preparing pictures (train): 36 of 36.",
    ]


def test_a_heartbeat_is_heard_for_every_picture(make_config: Make, colours: Dataset, cache: Path) -> None:
    beats: list[int] = []
    bench = bench_of(make_config(), colours, heartbeat=lambda: beats.append(1))
    before = len(beats)
    bench.encoded("train")
    assert len(beats) - before >= 36


def test_features_that_were_computed_in_fewer_rows_are_kept_as_such(
    make_config: Make, colours: Dataset, cache: Path
) -> None:
    bench = bench_of(make_config(), colours)

    def refuse(part: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 8:
            torch.empty(1 << 50, dtype=torch.uint8)  # torch's allocator refuses it.

    bench.network.backbone.register_forward_pre_hook(refuse)
    features = bench.frozen_features("train")
    assert bench.execution.eval_batch == 8
    assert len(list(cache.iterdir())) == 2
    again = bench_of(make_config().replace(execution=bench.config.execution), colours)
    again.network.backbone = torch.nn.Identity()
    assert torch.equal(again.frozen_features("train"), features)


class Held:
    """Anything with a size."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_a_worker_lets_go_what_it_did_not_use_for_longest(cache: Path) -> None:
    warm, opened = WarmCache(), []

    def ask(number: int, nbytes: int) -> None:
        warm.encoded({"number": number}, lambda _: (opened.append(number), Held(nbytes))[1])

    for number in range(warm_module.MAX_TABLES):
        ask(number, 0)
    for number in (0, warm_module.MAX_TABLES, 0, 1):
        ask(number, 0)
    assert opened == [*range(warm_module.MAX_TABLES + 1), 1]
    ask(100, warm_module.MAX_BYTES)
    ask(101, 1)
    ask(100, warm_module.MAX_BYTES)
    assert opened[-3:] == [100, 101, 100]
