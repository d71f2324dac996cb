"""What trials share by way of the shelf: a split's rows encoded, and a frozen backbone's features of them."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from autoft.backbones import Backbone
from autoft.core.configs import TrialConfig
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json, digest
from autoft.core.progress import PREPARING
from autoft.core.shelf import Shelf, Shelved
from autoft.data import Dataset, decode_picture
from autoft.tasks import Inputs
from autoft.training.execution import Execution

_log = logging.getLogger(__name__)

CODE = 2
"""Version of what makes the tables, encoders and the pass for features alike: one more wherever a byte may differ."""
MOST_THREADS = 8
"""Pictures decoded at the same time; each may take 48 MB."""
FEATURE_ROWS = {"cpu": 32, "cuda": 256}
"""Rows of one forward pass for features, whatever a trial's batch: so that all trials share them."""
TELL_SECONDS = 5.0
"""Between lines of the log that say how far a preparation is."""

_ENCODERS = {"image": ("pillow", "numpy"), "text": ("tokenizers",)}
"""Distributions whose versions decide what the rows of a kind are encoded to."""
_OF_TRAINING = ("drop_path_rate",)
"""Arguments of timm's models that do nothing in evaluation."""
_OF_BATCHES = ("micro_batch", "eval_batch", "compile", "gradient_checkpointing", "frozen_once", "ran_out", "workers")
"""What an execution says of other passes than that for features."""


def encoded_key(dataset: Dataset, split: str, preprocessing: Json) -> Json:
    """Return all that decides the encoded rows of a split; what is done on the device afterwards does not."""
    used = {name: value for name, value in preprocessing.items() if name not in {"mean", "std"}}
    return {
        "table": "encoded",
        "code": CODE,
        "data": dataset.fingerprint,
        "split": split,
        "preprocessing": digest(used),
        "versions": {name: version(name) for name in _ENCODERS[preprocessing["kind"]]},
    }


def features_key(dataset: Dataset, split: str, backbone: Backbone, execution: Execution, config: TrialConfig) -> Json:
    """Return all that decides a frozen backbone's features of a split, to the last digit."""
    architecture = dict(backbone.architecture)
    if "kwargs" in architecture:
        architecture["kwargs"] = {k: v for k, v in architecture["kwargs"].items() if k not in _OF_TRAINING}
    computed = {name: value for name, value in config.execution.items() if name not in _OF_BATCHES}
    return {
        "table": "features",
        "encoded": encoded_key(dataset, split, backbone.preprocessing),
        "backbone": digest(architecture),
        "weights": backbone.weights["sha256"],
        "execution": computed | {"rows": feature_rows(execution)},
        "versions": config.versions,
    }


def feature_rows(execution: Execution) -> int:
    """Return the rows of one forward pass for features."""
    return min(FEATURE_ROWS[execution.device], execution.eval_batch)


def encoded_table(shelf: Shelf, key: Json, inputs: Inputs, dataset: Dataset, split: str, *, heartbeat: Beat) -> Shelved:
    """Return the encoded rows of a split, which all cores of this process encode if nobody has yet."""

    def make(beat: Beat) -> Iterator[pa.RecordBatch]:
        raw = dataset.inputs(split)
        cores = min(MOST_THREADS, len(os.sched_getaffinity(0)))
        teller = _Teller(f"{'pictures' if dataset.kind == 'image' else 'texts'} ({split})", len(raw))
        for batch in inputs.encode_batches(raw, decode_picture, threads=cores, heartbeat=beat):
            yield batch
            teller.more(batch.num_rows)

    num_bytes = dataset.num_rows(split) * inputs.row_bytes
    return shelf.table(key, inputs.schema, make, num_bytes=num_bytes, heartbeat=heartbeat)


def features_tensor(
    shelf: Shelf,
    key: Json,
    compute: Callable[[Beat], Tensor],
    *,
    num_rows: int,
    num_features: int,
    heartbeat: Beat,
) -> Tensor:
    """Return features, float32 (N, F), computed if nobody has done so yet.

    They are a copy in memory of their own: how the mapped ones are aligned could decide a last digit.

    Args:
        shelf: Where they lie.
        key: All that decides them.
        compute: Returns them; calls what it is given after every piece of work.
        num_rows: N.
        num_features: F.
        heartbeat: Called again and again.
    """
    schema = pa.schema([pa.field("features", pa.list_(pa.float32(), num_features), nullable=False)])

    def make(beat: Beat) -> Iterator[pa.RecordBatch]:
        values = pa.array(compute(beat).reshape(-1).numpy())
        yield pa.RecordBatch.from_arrays([pa.FixedSizeListArray.from_arrays(values, num_features)], schema=schema)

    shelved = shelf.table(key, schema, make, num_bytes=4 * num_rows * num_features, heartbeat=heartbeat)
    features = torch.empty(num_rows, num_features)
    start = 0
    for chunk in shelved.table.column(0).chunks:
        features[start : start + len(chunk)].numpy()[:] = _matrix(chunk, num_features)
        start += len(chunk)
    shelved.was_read(features.nbytes)
    return features


def telling(beat: Beat, what: str, total: int, *, rows: int) -> Beat:
    """Return a heartbeat that also says now and then how far passes of so many rows are."""
    teller = _Teller(what, total)

    def passed() -> None:
        beat()
        teller.more(rows)

    return passed


def _matrix(chunk: Any, num_features: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a chunk of lists of one length as float32 (rows, F), without a copy."""
    values: np.ndarray[Any, np.dtype[np.float32]] = chunk.flatten().to_numpy(zero_copy_only=True)
    return values.reshape(len(chunk), num_features)


class _Teller:
    """Says in the log, now and then, how far a preparation is."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._told_at = time.monotonic()

    def more(self, count: int) -> None:
        """Take that `count` more rows are done."""
        self._done = min(self._done + count, self._total)
        if time.monotonic() - self._told_at > TELL_SECONDS:
            self._told_at = time.monotonic()
            _log.info("%s%s: %s of %s.", PREPARING, self._what, f"{self._done:,}", f"{self._total:,}")
