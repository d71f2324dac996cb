"""The Parquet schema is what others read: a change here is a change of format."""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoft.core.errors import FormatError
from autoft.core.storage import Store
from autoft.record import RecordWriter, read_record
from autoft.record.sealed import Manifest
from autoft.record.tables import SCHEMAS
from tests.record.making import epoch, small_search, started, write_flushes

PINNED = {
    "trials": "seq int64, time double, event string, trial string, kind string, status string, reason string, "
    "until_epoch int32, assignment string, config string, extra string",
    "epochs": "seq int64, time double, event string, trial string, epoch int32, status string, reason string, "
    "is_best bool, seconds double, learning_rate double, weights_sha256 string, timings string, config string, "
    "train_loss double, val_loss double, val_accuracy double, val_balanced_accuracy double, val_f1_macro double, "
    "val_f1_weighted double, val_roc_auc double, val_log_loss double, latency_ms double, peak_memory_mb double, "
    "parameters int64, logme double, metrics string, extra string",
    "decisions": "seq int64, time double, event string, number int64, action string, trial string, "
    "until_epoch int32, reason string, extra string",
    "events": "seq int64, time double, event string, seconds double, extra string",
}


def test_the_schema_is_the_pinned_one():
    assert {name: ", ".join(f"{field.name} {field.type}" for field in schema) for name, schema in SCHEMAS.items()} == (
        PINNED
    )


def test_the_sealed_files_have_the_schema_and_anyone_can_read_them(tmp_path: Path):
    with RecordWriter(Store.open(tmp_path)) as writer:
        write_flushes(writer, small_search()[:4])
        writer.seal()
        write_flushes(writer, small_search()[4:])
        writer.seal()
    for name, schema in SCHEMAS.items():
        (path,) = (tmp_path / "results").glob(f"{name}-*.parquet")
        table = pq.read_table(path)
        assert table.schema.equals(schema, check_metadata=True)
        assert table.schema.metadata == {b"autoft_format": b"1"}
    accuracies = pq.read_table(next((tmp_path / "results").glob("epochs-*.parquet"))).column("val_accuracy")
    assert accuracies.to_pylist() == [0.5, 0.25, None, 0.75, 0.75]


def rewrite(folder: Path, table: str, change: object) -> None:
    """Seal a small run, change one of its files, and make its manifest fit."""
    store = Store.open(folder)
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        writer.append(epoch("t0001", 1, 0.5))
        writer.seal()
    (path,) = (folder / "results").glob(f"{table}-*.parquet")
    before = path.stat().st_size
    pq.write_table(change(pq.read_table(path)), path)
    (manifest,) = (folder / "results").glob("sealed-*.json")
    found = Manifest.decode(manifest.read_bytes(), where="manifest")
    file = found.parts[0].files[table]
    assert file.bytes == before
    object.__setattr__(file, "bytes", path.stat().st_size)
    object.__setattr__(file, "sha256", sha256(path.read_bytes()).hexdigest())
    manifest.write_bytes(found.encode())


def test_a_column_that_an_earlier_autoft_did_not_know_is_null(tmp_path: Path):
    rewrite(tmp_path, "epochs", lambda table: table.drop_columns(["val_f1_macro", "weights_sha256"]))
    (result,) = read_record(Store.open(tmp_path)).trials[0].epochs
    assert result.metrics == {"val_accuracy": 0.5, "train_loss": 1.0}
    assert result.weights_sha256 is None


def test_a_column_of_a_later_autoft_is_refused_not_dropped(tmp_path: Path):
    rewrite(tmp_path, "epochs", lambda table: table.append_column("val_iou", pa.array([0.5])))
    with pytest.raises(FormatError, match="holds val_iou, which this autoft does not know; upgrade autoft"):
        read_record(Store.open(tmp_path))


def test_a_manifest_of_a_newer_format_is_refused(tmp_path: Path):
    store = Store.open(tmp_path)
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        writer.seal()
    (path,) = (tmp_path / "results").glob("sealed-*.json")
    from autoft.core.jsonable import canonical_json, digest

    content = {"format": 2, "something": "else"}
    path.write_text(canonical_json({"content": content, "sha256": digest(content)}))
    with pytest.raises(FormatError, match="has format 2, this autoft reads up to 1"):
        read_record(store)
