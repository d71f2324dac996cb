import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from autoft.cli import main
from autoft.strategies.experience import Experience, from_bytes, to_bytes
from tests.strategies.experience.pasts import experience


def named(*names: str) -> Experience:
    """Return the random search of one seed a name."""
    made = []
    for name in names:
        (search,) = experience(len(name)).searches
        made.append(dataclasses.replace(search, facts=dataclasses.replace(search.facts, name=name)))
    return Experience.of(made)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    made = []
    for seed in (1, 2):
        made.append(tmp_path / f"{seed}.parquet")
        made[-1].write_bytes(to_bytes(experience(seed)))
    return [str(file) for file in made]


def test_files_become_one_and_it_says_what_that_holds(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both.parquet"
    assert main(["experience", "build", *files, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"2 searches with 80 trials: {out}\n"
    assert sorted(shown.err.splitlines()) == [
        f"image-classification, accuracy: 40 trials on the data {fingerprint}" for fingerprint in "12"
    ]
    assert from_bytes(out.read_bytes(), where="both") == experience(1, 2)


def test_searches_on_data_of_a_name_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "named.parquet", tmp_path / "other.parquet"
    file.write_bytes(to_bytes(named("textile", "emoji")))
    line = ["experience", "build", str(file), "--out", str(out)]
    assert main([*line, "--without", "textil"]) == 2
    assert capsys.readouterr().err == (
        "Error: No search was on data called 'textil'. Did you mean 'textile'? Allowed: 'emoji' or 'textile'.\n"
    )
    assert main([*line, "--without", "textile", "--about", "Two small searches."]) == 0
    assert capsys.readouterr().err == "image-classification, accuracy: 40 trials on the data emoji\n"
    assert from_bytes(out.read_bytes(), where="other").searches == named("emoji").searches
    assert json.loads(pq.read_schema(out).metadata[b"autoft"])["about"] == "Two small searches."


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (["nowhere.parquet", "--out", "x.parquet"], "There is no experience file 'nowhere.parquet'."),
        ([".", "--out", "x.parquet"], "'.' is no run, holds none, and is no experience file (*.parquet)."),
        ([".", "--out", "x.pkl"], "An experience file ends in .parquet, and 'x.pkl' does not."),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    line: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["experience", "build", *line]) == 2
    assert capsys.readouterr().err == f"Error: {problem}\n"
    assert list(tmp_path.iterdir()) == []
