"""Predictions as they are written: CSV, JSONL or Parquet, a chunk at a time, published whole."""

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from autoft.cli.failures import unwritable
from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json

CHUNK = 512
"""Inputs that are read, predicted and written at once."""

COLUMNS = ("input", "label", "probability", "probabilities")
FORMS = (".csv", ".jsonl", ".parquet")

Write = Callable[[Sequence[Json]], None]


def sink_form(out: Path | None) -> str:
    """Return ".csv", ".jsonl" or ".parquet" by the file's extension; ".csv" for stdout.

    Raises:
        ConfigError: If the extension is another, or there is no such folder.
    """
    if out is None:
        return ".csv"
    form = out.suffix.lower()
    if form not in FORMS:
        raise ConfigError(
            f"--out must end in {', '.join(FORMS[:-1])} or {FORMS[-1]}, not '{out}'.{nearest(form, FORMS)}"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder '{out.parent}'.")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder.")
    return form


@contextmanager
def open_sink(out: Path | None, form: str, labels: Sequence[str]) -> Iterator[Write]:
    """Give a function that writes rows; the file appears, whole, when the block ends without an error."""
    if out is None:
        yield _csv_writer(sys.stdout)
        return
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=".autoft-", suffix=form)
    except OSError as error:
        raise unwritable("--out", out, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        if form == ".parquet":
            with _parquet_writer(temporary, labels) as write:
                yield write
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield _csv_writer(file) if form == ".csv" else _jsonl_writer(file)
        temporary.chmod(0o644)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _csv_writer(file: IO[str]) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    is_first = True

    def write(rows: Sequence[Json]) -> None:
        nonlocal is_first
        if is_first:  # with the first rows: an input that is refused leaves no header on stdout
            writer.writerow(COLUMNS)
            is_first = False
        for row in rows:
            probabilities = json.dumps(row["probabilities"], ensure_ascii=False)
            writer.writerow([row["input"], row["label"], repr(row["probability"]), probabilities])

    return write


def _jsonl_writer(file: IO[str]) -> Write:
    def write(rows: Sequence[Json]) -> None:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n")

    return write


@contextmanager
def _parquet_writer(path: Path, labels: Sequence[str]) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields: list[tuple[str, Any]] = [
        ("input", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("probabilities", pa.struct([(label, pa.float64()) for label in labels])),
    ]
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))
