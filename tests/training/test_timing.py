import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoft.core.configs import EpochResult, TrialConfig
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.profiling import FIRST_UPDATES, MOST_UPDATES
from autoft.training.timing import IN_EPOCH, WAIT, Stopwatch
from autoft.training.worker import open_trial
from tests.conftest import TINY_IMAGE_BACKBONE

Make = Callable[..., TrialConfig]
SGD = {"name": "sgd", "lr": 0.01}


def assert_whole(result: EpochResult) -> None:
    assert set(result.timings) == {*IN_EPOCH, WAIT}
    assert all(seconds >= 0 for seconds in result.timings.values())
    assert sum(result.timings[part] for part in IN_EPOCH) == pytest.approx(result.seconds, abs=1e-9)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"finetune": {"mode": "head"}, "augmentation": {"name": "none"}},
        {"batch_size": 4, "accumulation": 3, "optimizer": {"name": "sam", "base": SGD}},
        {"averaging": {"name": "swa", "start_fraction": 0.0}},
    ],
    ids=["full", "head", "sam", "swa"],
)
def test_the_parts_of_an_epoch_add_up_to_its_seconds(
    make_config: Make, colours: Dataset, tmp_path: Path, sections: dict[str, Any]
) -> None:
    trial = open_trial(make_config(**sections), colours, store=Store.open(tmp_path))
    for _ in range(2):
        result = trial.run_epoch()
        assert_whole(result)
        assert min(result.timings.values()) > 0


def test_the_parts_of_a_probe_add_up_to_its_seconds(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    recipe = complete({"backbone": TINY_IMAGE_BACKBONE, "finetune": {"mode": "probe"}}, task="image-classification")
    result = open_trial(make_config().replace(recipe=recipe), colours, store=Store.open(tmp_path)).run_epoch()
    assert_whole(result)


def test_an_epoch_that_is_told_later_has_parts_that_add_up_too(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    open_trial(make_config(), colours, store=Store.open(tmp_path)).run_epoch()
    assert_whole(open_trial(make_config(), colours, store=Store.open(tmp_path)).run_epoch())


def test_what_passes_between_two_epochs_is_the_second_ones_wait(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    trial = open_trial(make_config(), colours, store=Store.open(tmp_path))
    trial.run_epoch()
    time.sleep(0.05)
    result = trial.run_epoch()
    assert result.timings[WAIT] >= 0.05
    assert_whole(result)


def test_every_moment_belongs_to_the_part_that_ends_with_it() -> None:
    watch = Stopwatch(torch.device("cpu"))
    time.sleep(0.02)
    watch.mark("data")
    watch.mark("optimizer")
    time.sleep(0.03)
    watch.lap("evaluate")
    watch.settle()
    assert watch.timings["data"] >= 0.02
    assert watch.timings["evaluate"] >= 0.03
    assert watch.timings["optimizer"] < 0.02
    assert watch.timings["checkpoint"] == 0


def spans(content: bytes, name: str) -> list[str]:
    events = json.loads(gzip.decompress(content))["traceEvents"]
    return [event["name"] for event in events if event.get("name", "").startswith(name)]


def test_a_trace_holds_the_operators_of_the_updates_after_the_first(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    kept: list[bytes] = []
    config = make_config(batch_size=4, epochs=2, optimizer=SGD)
    trial = open_trial(config, colours, store=Store.open(tmp_path), trace=kept.append)
    results = [trial.run_epoch() for _ in range(2)]
    assert len(kept) == 1
    assert len(spans(kept[0], "ProfilerStep#")) == 9 - FIRST_UPDATES < MOST_UPDATES
    assert len(spans(kept[0], "Optimizer.step#SGD.step")) == 9 - FIRST_UPDATES
    assert {"aten::convolution", "aten::convolution_backward"} <= set(spans(kept[0], "aten::conv"))
    plain = open_trial(config, colours, store=Store.open(tmp_path / "plain"))
    assert [plain.run_epoch().weights_sha256 for _ in range(2)] == [result.weights_sha256 for result in results]


def test_an_epoch_of_one_update_is_traced_whole(make_config: Make, colours: Dataset, tmp_path: Path) -> None:
    kept: list[bytes] = []
    config = make_config(batch_size=36, epochs=1, optimizer=SGD)
    open_trial(config, colours, store=Store.open(tmp_path), trace=kept.append).run_epoch()
    assert len(spans(kept[0], "Optimizer.step#SGD.step")) == 1
