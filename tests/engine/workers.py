"""Trials that train nothing: the run folder's script.json says, by trial, what each does."""

import errno
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from autoft.core.configs import EpochResult, ExecutionPolicy, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import RunRows
from autoft.engine.job import Heartbeat, KeepTrace

SCRIPT = "script.json"


class Scripted:
    """A trial whose accuracy by epoch, and whose mishaps, are given.

    Keys of a script: `curve` (accuracy by epoch; null: not finite; a short one ends early), `seconds` (of an epoch),
    `fail_at`, `hang_at`, `full_at`, `die_at` (an epoch; `die_at` only while the trial has a first attempt),
    `always_die`, `peak_memory_mb` and `device_memory_mb` (as if they had been measured on a GPU).
    """

    def __init__(
        self,
        config: TrialConfig,
        store: Store,
        epochs_recorded: int,
        heartbeat: Heartbeat,
        policy: ExecutionPolicy,
    ) -> None:
        self.config = config
        self.policy = policy
        self.store = store
        self.heartbeat = heartbeat
        self.epoch = int(store.read("last.safetensors")) if store.exists("last.safetensors") else 0
        if self.epoch > epochs_recorded:
            self.epoch = 0
        folder = Path(store.root)
        scripts = folder.parent.parent / SCRIPT
        self.script: Json = json.loads(scripts.read_text()).get(folder.name, {}) if scripts.exists() else {}
        self.opened_at = self.epoch
        self.unpublished = len(list(folder.glob(".last.*")))

    def run_epoch(self) -> EpochResult:
        self.epoch += 1
        script = self.script
        print(f"epoch {self.epoch} of {self.store.root.rsplit('/', 1)[-1]}")
        os.write(2, b"written below Python\n")
        self._mishap(self.epoch)
        self.heartbeat()
        time.sleep(script.get("seconds", 0.0))
        curve = script.get("curve", [0.5 + 0.01 * epoch for epoch in range(1, self.config.epochs + 1)])
        value = curve[self.epoch - 1]
        ends = self.epoch == min(len(curve), self.config.epochs)
        measured = {"process": os.getpid(), "opened_at": self.opened_at, "unpublished": self.unpublished}
        planted = {name: script[name] for name in ("peak_memory_mb", "device_memory_mb") if name in script}
        if planted:
            planted["gpu_share"] = self.policy.gpu_share
        self.store.write("best.safetensors", b"{}")
        self.store.write("last.safetensors", str(self.epoch).encode())
        return EpochResult(
            epoch=self.epoch,
            metrics={"val_accuracy": value} | measured | planted,
            seconds=0.01 + script.get("seconds", 0.0),
            status="diverged" if value is None else "completed" if ends else "running",
            reason="the loss was not finite" if value is None else "its last epoch" if ends else "",
            is_best=True,
            timings={"evaluate": 0.001},
            config=self.config.replace(versions={"scripted": "1"}).to_json() if self.epoch == 1 else None,
        )

    def _mishap(self, epoch: int) -> None:
        script = self.script
        if epoch == script.get("fail_at"):
            warnings.warn("about to fail", stacklevel=1)
            raise ValueError("a tensor of the wrong shape\nand more")
        if epoch == script.get("spoil_at"):
            raise MemoryError("out of memory")
        if epoch == script.get("hang_at"):
            time.sleep(3600)
        if epoch == script.get("full_at"):
            raise OSError(errno.ENOSPC, "No space left on device")
        marker = Path(self.store.root) / "died"
        if script.get("always_die") or (epoch == script.get("die_at") and not marker.exists()):
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            marker.with_name(".last.safetensors.0123abcd").touch()  # as a writer leaves it that is killed
            os._exit(1)


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
) -> Scripted:
    return Scripted(config, store, epochs_recorded, heartbeat, policy)


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
    scripts = json.loads(store.read(SCRIPT)) if store.exists(SCRIPT) else {}
    if scripts.get("final") == "fail":
        raise ValueError("no test split")
    store.write("best/winner.txt", trial.encode())
    return {"test_accuracy": 0.9, "process": os.getpid(), "torch": "torch" in sys.modules}
