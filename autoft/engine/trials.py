"""What a worker runs: real trials, and the winner's final test with its bundle. Loads torch: no driver imports it."""

from typing import Any

from autoft import evaluation
from autoft.artifact import Bundle, write_bundle
from autoft.core.configs import SPLITS, EpochResult, ExecutionPolicy, TrialConfig
from autoft.core.errors import WorkError
from autoft.core.jsonable import Json
from autoft.core.metrics import all_quality_metrics, quality_metrics
from autoft.core.storage import Store
from autoft.data import Dataset, RunRows
from autoft.engine.job import Heartbeat, KeepTrace, RunningTrial
from autoft.training import worker
from autoft.training.checkpoint import Checkpoints
from autoft.training.finetune import merge_adapters
from autoft.training.group import Group
from autoft.training.loop import load_learned
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench


def open_trial(
    config: TrialConfig,
    *,
    rows: RunRows,
    store: Store,
    epochs_recorded: int,
    warm: dict[str, Any],
    heartbeat: Heartbeat,
    trace: KeepTrace | None,
    policy: ExecutionPolicy,
) -> RunningTrial:
    """Return the trial that `config` describes; see `job.OpenTrial`."""
    return worker.open_trial(
        config,
        _dataset(warm, rows, heartbeat),
        store=store,
        epochs_recorded=epochs_recorded,
        warm=_cache(warm),
        heartbeat=heartbeat,
        trace=trace,
        policy=policy,
        group=Group.here(heartbeat),
    )


def finalize(
    config: TrialConfig,
    *,
    trial: str,
    epochs: tuple[EpochResult, ...],
    rows: RunRows,
    store: Store,
    warm: dict[str, Any],
    heartbeat: Heartbeat,
) -> Json:
    """Test the winner once, write RUN/best, and return its test metrics by column name; see `job.Finalize`.

    Each comes with the ends of its 95 % interval, such as test_accuracy_low and test_accuracy_high.

    Raises:
        WorkError: If the winner's checkpoint is lost.
    """
    dataset = _dataset(warm, rows, heartbeat)
    bench = Workbench.set_up(config, dataset, warm=_cache(warm), heartbeat=heartbeat)
    epoch = load_best(bench, store.within(f"checkpoints/{trial}"))
    report = test_report(bench)
    best = next(result for result in epochs if result.epoch == epoch)
    bundle = Bundle(
        config=bench.config,
        reported={
            "trial": trial,
            "epoch": epoch,
            "weights_sha256": best.weights_sha256,
            "epochs": [result.reported() for result in epochs],
            "num_rows": {split: dataset.num_rows(split) for split in SPLITS},
        },
        tensors=bench.network.state_dict(),
        preprocessing={"inputs": bench.backbone.preprocessing, "architecture": bench.backbone.architecture},
        labels=tuple(dataset.labels),
        metrics={
            "val": {name: best.metrics.get(f"val_{name}") for name in _names(config)},
            "test": report["metrics"],
            "test_per_class": report["per_class"],
        },
    )
    write_bundle(store.within("best"), bundle)
    found: Json = {f"test_{name}": report["metrics"][name]["value"] for name in _names(config)}
    for name in _names(config):
        found |= {f"test_{name}_{end}": report["metrics"][name][end] for end in ("low", "high")}
    return found


def test_trial(config: TrialConfig, *, trial: str, rows: RunRows, store: Store) -> Json:
    """Return a kept trial's evaluation on the test split, in the form of `autoft evaluate --format json`.

    Raises:
        WorkError: If its checkpoint is not kept.
    """
    bench = Workbench.set_up(config, rows.open(), warm=WarmCache())
    load_best(bench, store.within(f"checkpoints/{trial}"))
    return test_report(bench)


def load_best(bench: Workbench, store: Store) -> int:
    """Load the best weights of a trial into the workbench's network, adapters folded in, and return their epoch.

    Raises:
        WorkError: If the checkpoint is lost or damaged.
    """
    best = Checkpoints(store).load("best")
    if best is None:
        raise WorkError(f"The best checkpoint in '{store.path()}' is lost, so there is no model to test.")
    load_learned(bench.network, best.tensors)
    merge_adapters(bench.network)
    return int(best.about["epoch"])


def test_report(bench: Workbench) -> Json:
    """Return the evaluation of the workbench's network on the test split."""
    dataset = bench.dataset
    return evaluation.report(
        all_quality_metrics(bench.config.metrics),
        dataset.targets("test"),
        bench.probabilities("test"),
        dataset.labels,
        seed=bench.config.seed,
        heartbeat=bench.heartbeat,
    )


def _names(config: TrialConfig) -> list[str]:
    return quality_metrics(config.metrics)


def _dataset(warm: dict[str, Any], rows: RunRows, heartbeat: Heartbeat) -> Dataset:
    if warm.get("rows") != rows:
        warm["dataset"], warm["rows"] = rows.open(heartbeat), rows
    dataset: Dataset = warm["dataset"]
    return dataset


def _cache(warm: dict[str, Any]) -> WarmCache:
    cache: WarmCache = warm.setdefault("cache", WarmCache())
    return cache
