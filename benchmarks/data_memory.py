"""What data larger than memory take: many pictures through the shelf, the private memory of a worker and its seconds.

    python -m benchmarks.data_memory --out FILE.json

Pictures are made on the spot, their bytes kept in the data set's own file. Each phase runs in a process of its own, as
a worker would: `cold` decodes them and passes over shuffled batches; `warm` finds them decoded; `memory` holds them in
its own memory, as it would be without the shelf. Private memory is what no other process shares
(/proc/self/smaps_rollup), sampled through the phase, beside what the process had before it opened the data.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from autoft.core.configs import FORMAT, SPLITS
from autoft.core.jsonable import Json, canonical_json

SIDE = 64
"""Pixels of a picture as it lies on the disk and as a backbone takes it."""
BATCH = 64
CHUNK = 1000
SAMPLE_SECONDS = 0.05
LABELS = ("a", "b")
COLUMNS: dict[str, pa.DataType] = {
    "row": pa.string(),
    "content": pa.large_binary(),
    "sha256": pa.string(),
    "target": pa.int32(),
    "split": pa.string(),
}


def pictures(count: int) -> Iterator[bytes]:
    """Yield PNG pictures, each another one."""
    draws = np.random.default_rng(0)
    noise = draws.integers(0, 64, (SIDE, SIDE, 3), dtype=np.uint8)
    for _ in range(count):
        file = io.BytesIO()
        pixels = noise + draws.integers(0, 192, 3, dtype=np.uint8)
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        yield file.getvalue()


def write_data(path: Path, count: int) -> None:
    """Write a data set of `count` training pictures, and two more for each other split."""
    num_rows = {"train": count, "val": 2, "test": 2}
    facts = {
        "format": FORMAT,
        "kind": "content",
        "task": "image-classification",
        "labels": list(LABELS),
        "fingerprint": hashlib.sha256(f"data_memory {count}".encode()).hexdigest(),
        "num_rows": num_rows,
    }
    schema = pa.schema(COLUMNS, metadata={b"autoft": canonical_json(facts).encode()})
    splits = [split for split in SPLITS for _ in range(num_rows[split])]
    contents = pictures(len(splits))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(splits), CHUNK):
            places = range(start, min(start + CHUNK, len(splits)))
            found = [next(contents) for _ in places]
            columns: list[list[Any]] = [
                [f"{place}.png" for place in places],
                found,
                [hashlib.sha256(content).hexdigest() for content in found],
                [place % len(LABELS) for place in places],
                [splits[place] for place in places],
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def private_bytes() -> int:
    """Return the memory of this process that no other shares: what would be free if it ended."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


class Sampler:
    """Finds the most private memory that a block of code had."""

    def __init__(self) -> None:
        self.most = private_bytes()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            self.most = max(self.most, private_bytes())

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self.most = max(self.most, private_bytes())


def run_phase(path: str, is_shelved: bool, answers: "multiprocessing.Queue[Json]") -> None:
    """Open the data, encode them, pass over all batches in a random order, and answer what that took."""
    import torch

    from autoft.core.shelf import Shelf
    from autoft.data import decode_picture, open_dataset
    from autoft.tasks import build_inputs
    from autoft.training.prepared import encoded_key, encoded_table

    preprocessing = {"kind": "image", "size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3}
    inputs, before = build_inputs(preprocessing), private_bytes()
    seconds: Json = {}
    start = time.perf_counter()
    with Sampler() as opening:
        dataset = open_dataset(Path(path))
    seconds["open"] = time.perf_counter() - start
    start = time.perf_counter()
    with Sampler() as encoding:
        if is_shelved:
            key = encoded_key(dataset, "train", preprocessing)
            table = encoded_table(Shelf(), key, inputs, dataset, "train", heartbeat=lambda: None)
            encoded = inputs.open(table)
        else:
            encoded = inputs.encode(dataset.inputs("train"), decode_picture)
    seconds["encode"] = time.perf_counter() - start
    order = torch.randperm(len(encoded), generator=torch.Generator().manual_seed(0))
    start, checksum = time.perf_counter(), 0
    with Sampler() as passing:
        for rows in torch.split(order, BATCH):
            (batch,) = inputs.batch(encoded, rows)
            checksum += int(batch[:, 0, 0, 0].sum())
    seconds["pass"] = time.perf_counter() - start
    answers.put(
        {
            "seconds": seconds,
            "private_mb": {
                "before": before / 2**20,
                "open": opening.most / 2**20,
                "encode": encoding.most / 2**20,
                "pass": passing.most / 2**20,
            },
            "pictures_per_second_of_the_pass": len(encoded) / seconds["pass"],
            "checksum": checksum,
        }
    )


def measure(count: int, folder: Path) -> Json:
    """Measure every phase on `count` pictures in a new folder."""
    path = folder / "dataset.arrow"
    os.environ["AUTOFT_CACHE"] = str(folder / "cache")
    write_data(path, count)
    context = multiprocessing.get_context("spawn")
    found: Json = {"pictures": count, "side": SIDE, "batch": BATCH, "data_mb": path.stat().st_size / 2**20}
    for phase, is_shelved in (("cold", True), ("warm", True), ("memory", False)):
        answers: multiprocessing.Queue[Json] = context.Queue()
        process = context.Process(target=run_phase, args=(str(path), is_shelved, answers))
        process.start()
        found[phase] = answers.get()
        process.join()
    found["prepared_mb"] = sum(file.stat().st_size for file in (folder / "cache").rglob("*.arrow")) / 2**20
    checksums = {found[phase].pop("checksum") for phase in ("cold", "warm", "memory")}
    found["phases_agree"] = len(checksums) == 1
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--pictures", type=int, default=100_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autoft-data-memory-") as name:
        found = measure(options.pictures, Path(name))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
