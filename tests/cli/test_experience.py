from pathlib import Path

import pytest

from autoft.cli import main
from autoft.strategies.experience import from_bytes, to_bytes
from tests.strategies.experience.pasts import experience


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
