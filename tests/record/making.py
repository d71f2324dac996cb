"""A small search as events, and file systems that refuse or tear."""

import errno
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import fs

from autoft.core.configs import Budget, DataSpec, Resources, SearchConfig, StrategyConfig, TrialConfig
from autoft.core.storage import Store
from autoft.record import RecordWriter, read_events


def search_config(*metrics: str, confirm: int = 0) -> SearchConfig:
    return SearchConfig(
        task="image-classification",
        data=DataSpec(source="pictures"),
        fingerprint="f" * 64,
        space={},
        space_name="small",
        metrics=metrics or ("accuracy", "log_loss"),
        budget=Budget(trials=4, epochs=3),
        searcher=StrategyConfig(name="random"),
        scheduler=StrategyConfig(name="none"),
        resources=Resources(),
        address=None,
        seed=0,
        confirm=confirm,
    )


def trial_config(mode: str = "full") -> dict[str, Any]:
    return TrialConfig(
        task="image-classification",
        data={},
        recipe={"finetune": {"mode": mode}},
        epochs=3,
        metrics=("accuracy", "log_loss"),
        seed=7,
    ).to_json()


def started(trial: str, kind: str = "trial", **assignment: Any) -> dict[str, Any]:
    config = trial_config("probe" if kind == "probe" else "full")
    return {
        "event": "trial",
        "trial": trial,
        "kind": kind,
        "assignment": assignment,
        "config": config,
        "until_epoch": 2,
    }


def epoch(trial: str, number: int, accuracy: float | None, status: str = "running", **metrics: Any) -> dict[str, Any]:
    result = {
        "epoch": number,
        "metrics": {"val_accuracy": accuracy, "train_loss": 1 / number, **metrics},
        "seconds": 1.5,
        "status": status,
        "is_best": False,
        "timings": {"forward_backward": 1.25},
        "learning_rate": 1e-3,
        "weights_sha256": "a" * 64,
        "config": trial_config() if number == 1 else None,
    }
    return {"event": "epoch", "trial": trial, "result": result}


def decided(number: int, action: str, trial: str | None, until: int | None, reason: str = "because") -> dict[str, Any]:
    return {
        "event": "decision",
        "number": number,
        "action": action,
        "trial": trial,
        "until_epoch": until,
        "reason": reason,
    }


def ended(trial: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"event": "status", "trial": trial, "status": status, "reason": reason}


def small_search() -> list[list[dict[str, Any]]]:
    """Return the events of a search of a probe and two trials, flush by flush."""
    return [
        [{"event": "search", "started_at": "2026-01-01T00:00:00+00:00", "host": "here"}],
        [decided(1, "start", "p01", 1), started("p01", "probe", backbone="timm:resnet18")],
        [epoch("p01", 1, 0.5, "completed", parameters=1000), {"event": "clock", "seconds": 2.0}],
        [decided(2, "start", "t0001", 1), started("t0001", backbone="timm:resnet18", batch_size=32)],
        [decided(3, "start", "t0002", 1), started("t0002", backbone="timm:resnet18", batch_size=16)],
        [epoch("t0001", 1, 0.25, val_log_loss=1.5), decided(4, "continue", "t0001", 3, "the best so far")],
        [epoch("t0002", 1, None, "diverged"), ended("t0002", "diverged", "the loss is not finite")],
        [epoch("t0001", 2, 0.75, val_log_loss=0.5, latency_ms=2.5, odd=3.0), {"event": "note", "text": "so\nit is"}],
        [epoch("t0001", 3, 0.75, "completed", val_log_loss=0.25), ended("t0001", "completed", "all epochs trained")],
        [{"event": "test", "trial": "t0001", "metrics": {"accuracy": 0.625}}, {"event": "clock", "seconds": 9.0}],
    ]


def write_flushes(writer: RecordWriter, flushes: list[list[dict[str, Any]]]) -> None:
    for events in flushes:
        for event in events:
            writer.append(event)
        writer.flush()


def seqs(store: Store) -> list[int]:
    return [event["seq"] for event in read_events(store)]


def files(store: Store) -> list[str]:
    return list(store.within("results").sizes())


class Refusing(fs.FileSystemHandler):
    """A real file system whose disk fills up: after `left` changes the next tears or is refused, as all later ones."""

    def __init__(self, real: fs.FileSystem, *, torn_bytes: int) -> None:
        self.real = real
        self.left: int | None = None
        """Changes that still work; None: all."""
        self.torn_bytes = torn_bytes
        """Bytes of the first refused write that reach the disk."""

    def change(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        if self.left == 0 and self.torn_bytes:
            self.left = -1
            return pa.PythonFile(_Torn(self.real.open_output_stream(path), self.torn_bytes), mode="w")
        self.change()
        return self.real.open_output_stream(path)

    def delete_file(self, path: str) -> None:
        self.change()
        self.real.delete_file(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.real.create_dir(path, recursive=recursive)

    def get_type_name(self) -> str:
        return "refusing"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self.real.get_file_info(paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> Any:
        return self.real.get_file_info(selector)

    def open_input_file(self, path: str) -> Any:
        return self.real.open_input_file(path)

    def open_input_stream(self, path: str) -> Any:
        return self.real.open_input_stream(path)

    def _unused(self, *_: Any) -> Any:
        raise NotImplementedError

    copy_file = move = delete_dir = delete_dir_contents = delete_root_dir_contents = open_append_stream = _unused


class _Torn:
    """A file of which only the first bytes reach the disk."""

    def __init__(self, stream: Any, num_bytes: int) -> None:
        self._stream, self._num_bytes = stream, num_bytes
        self.closed = False

    def write(self, content: bytes) -> int:
        self._stream.write(bytes(content)[: self._num_bytes])
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.closed = True
        self._stream.close()


def ticking() -> Iterator[float]:
    """Yield the seconds since 1970, ten a call."""
    now = 1_000_000.0
    while True:
        yield now
        now += 10
