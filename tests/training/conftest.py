from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoft.core.configs import DataSpec, EpochResult, TrialConfig
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.data import Dataset, open_dataset, prepare
from tests.conftest import TINY_IMAGE_BACKBONE


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def colours(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 pictures in 3 classes: 36 train, 12 val, 12 test."""
    out = tmp_path_factory.mktemp("colours")
    return open_dataset(prepare(str(pictures), DataSpec(source=str(pictures)), out=out).path)


@pytest.fixture
def make_config(colours: Dataset) -> Callable[..., TrialConfig]:
    """Return a maker of configurations on the tiny backbone; settings are sections of the recipe."""

    def make(
        *, epochs: int = 3, seed: int = 1, metrics: tuple[str, ...] = ("accuracy",), **sections: Any
    ) -> TrialConfig:
        recipe = complete({"backbone": TINY_IMAGE_BACKBONE, **sections}, task="image-classification")
        return TrialConfig(
            task="image-classification",
            data={"fingerprint": colours.fingerprint},
            recipe=recipe,
            epochs=epochs,
            metrics=metrics,
            seed=seed,
        )

    return make


@pytest.fixture
def run(colours: Dataset, tmp_path: Path) -> Callable[..., list[EpochResult]]:
    """Return a runner of configurations to their end, each in a store of its own name."""
    from autoft.training.worker import run_trial

    def run(config: TrialConfig, *, name: str = "trial", epochs: int | None = None) -> list[EpochResult]:
        results: list[EpochResult] = []

        def report(result: EpochResult) -> bool:
            results.append(result)
            return epochs is None or len(results) < epochs

        run_trial(config, colours, report, store=Store.open(tmp_path / name))
        return results

    return run


def without_clock(result: EpochResult) -> dict[str, Any]:
    """Return a result less what is read off the clock or the machine."""
    values = result.to_json()
    metrics = {k: v for k, v in values["metrics"].items() if k not in {"latency_ms", "peak_memory_mb"}}
    return {k: v for k, v in values.items() if k not in {"seconds", "timings"}} | {"metrics": metrics}
