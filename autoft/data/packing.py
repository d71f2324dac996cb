"""Rows by their content, in Arrow files of bounded size: how they travel to machines that share no disk."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from autoft.core.configs import FORMAT
from autoft.data.dataset import BATCH_BYTES, Dataset, schema_of, unchanged
from autoft.data.rows import InputKind

PART_BYTES = 2 * BATCH_BYTES
"""The most that an Arrow file holds, but for one whose only batch is larger."""


def packed_kind(dataset: Dataset) -> InputKind:
    """Return how the packed inputs are held."""
    return "content" if dataset.input_kind == "path" else dataset.input_kind


def packed_schema(dataset: Dataset) -> pa.Schema:
    """Return the columns of the packed rows, with the dataset's facts as metadata."""
    kind = packed_kind(dataset)
    return schema_of(kind, {**dataset.facts, "format": FORMAT, "kind": kind})


def packed_batches(dataset: Dataset) -> Iterator[pa.RecordBatch]:
    """Yield all rows of a dataset in batches of bounded size, pictures by their content in the place of their path.

    Raises:
        DataError: If a picture's file is gone or holds something else than it did; names the file.
    """
    schema = packed_schema(dataset)
    for batch in dataset.batches():
        if dataset.input_kind != "path":
            yield batch
            continue
        contents: list[bytes] = []
        start = size = 0
        paths, hashes = batch["path"].to_pylist(), batch["sha256"].to_pylist()
        for place, (path, sha256) in enumerate(zip(paths, hashes, strict=True), start=1):
            contents.append(unchanged(Path(str(path)), str(sha256)))
            size += len(contents[-1])
            if size > BATCH_BYTES or place == batch.num_rows:
                columns = batch.slice(start, len(contents)).columns
                columns[1] = pa.array(contents, schema.types[1])
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
                contents, start, size = [], place, 0


def arrow_parts(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[tuple[pa.Buffer, int]]:
    """Yield batches as the bytes of Arrow files of at most `PART_BYTES`, each with its number of rows."""
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        more = pa.ipc.get_record_batch_size(batch)
        if pending and size + more > PART_BYTES:
            yield _arrow(pending, schema)
            pending, size = [], 0
        pending.append(batch)
        size += more
    if pending:
        yield _arrow(pending, schema)


def _arrow(batches: list[pa.RecordBatch], schema: pa.Schema) -> tuple[pa.Buffer, int]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue(), sum(batch.num_rows for batch in batches)
