import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoft.core.configs import Budget, DataSpec, Resources, SearchConfig, StrategyConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.engine.job import WorkerSpec
from autoft.space import SearchSpace

SPACE = {
    "backbone": {"choice": [{"name": "hf:sentence-transformers/all-MiniLM-L6-v2"}]},
    "finetune": {"mode": "full"},
    "optimizer": {"name": "adamw", "lr": {"log_uniform": [1e-5, 1e-2]}},
}


@pytest.fixture(scope="session")
def spec() -> WorkerSpec:
    return WorkerSpec(open_trial="tests.engine.workers:open_trial", finalize="tests.engine.workers:finalize")


@pytest.fixture(scope="session")
def make_search() -> Callable[..., SearchConfig]:
    def make(
        *,
        trials: int | None = 3,
        epochs: int = 2,
        seconds: float | None = None,
        scheduler: str = "none",
        concurrent: int | None = None,
        hang_seconds: float = 60.0,
        keep: int = 3,
        seed: int = 0,
        deterministic: bool = False,
        limits: Json | None = None,
        metrics: tuple[str, ...] = ("accuracy",),
        confirm: int = 0,
        min_improvement: float | None = None,
    ) -> SearchConfig:
        space = SearchSpace.from_json({"task": "text-classification", **SPACE})
        return SearchConfig(
            task="text-classification",
            data=DataSpec(source="nowhere"),
            fingerprint="0" * 64,
            space=space.to_json(),
            space_name="test",
            metrics=metrics,
            budget=Budget(trials=trials, epochs=epochs, seconds=seconds),
            searcher=StrategyConfig(name="random"),
            scheduler=StrategyConfig(name=scheduler),
            resources=Resources(gpus_per_trial=0, concurrent=concurrent, hang_seconds=hang_seconds),
            address=None,
            seed=seed,
            keep=keep,
            deterministic=deterministic,
            limits=limits or {},
            confirm=confirm,
            min_improvement=min_improvement,
        )

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[[Json], Store]:
    def make(scripts: Json) -> Store:
        (tmp_path / "script.json").write_text(json.dumps(scripts))
        return Store.open(tmp_path)

    return make
