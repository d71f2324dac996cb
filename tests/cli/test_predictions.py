import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from autoft.cli.predictions import open_sink, sink_form
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json

LABELS = ("cat", "dog, big")
ROWS: list[Json] = [
    {"input": f"{name}.jpg", "label": "cat", "probability": p, "probabilities": {"cat": p, "dog, big": 1 - p}}
    for name, p in (("a", 0.8123456789012345), ("b,c", 0.75))
]


def written(out: Path | None) -> None:
    with open_sink(out, sink_form(out), LABELS) as write:
        write(ROWS[:1])
        write(ROWS[1:])


def test_csv_has_one_row_an_input_and_every_digit(tmp_path: Path) -> None:
    written(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["input", "label", "probability", "probabilities"]
    assert [row["input"] for row in rows] == ["a.jpg", "b,c.jpg"]
    assert float(rows[0]["probability"]) == 0.8123456789012345
    assert json.loads(rows[0]["probabilities"]) == ROWS[0]["probabilities"]


def test_jsonl_is_the_rows(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl")
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == ROWS


def test_parquet_holds_probabilities_by_label(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == ROWS


def test_without_a_file_csv_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    written(None)
    assert capsys.readouterr().out.splitlines()[0] == "input,label,probability,probabilities"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_an_error_half_way_leaves_no_file_and_keeps_the_old_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    broken: Iterator[Json] = iter(())
    with pytest.raises(StopIteration), open_sink(tmp_path / name, sink_form(tmp_path / name), LABELS) as write:
        write([*ROWS, next(broken)])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        sink_form(tmp_path / "a.csv")
