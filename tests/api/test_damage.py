"""A run folder that was damaged, changed, or is another's: one sentence, and what is there stays as it is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import autoft
from autoft.api import SearchResult
from autoft.core.errors import FormatError, UserError


@pytest.fixture
def run(finished: SearchResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


def files_of(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def refusal(run: Path) -> str:
    before = files_of(run)
    with pytest.raises(UserError) as caught:
        autoft.resume(run, autoft.Budget(trials=9))
    assert "\n" not in str(caught.value)
    after = files_of(run)
    assert {name: after.get(name) for name in before if name != "search.yaml"} == {
        name: content for name, content in before.items() if name != "search.yaml"
    }
    return str(caught.value)


def flipped(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 8]) + content[len(content) // 2 + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _: b"", flipped])
@pytest.mark.parametrize("table", ["trials", "epochs", "decisions", "events", "sealed"])
def test_a_damaged_record_is_refused_by_every_reader_and_by_a_resume(
    run: Path, table: str, damage: Callable[[bytes], bytes]
) -> None:
    (path,) = (run / "results").glob(f"{table}-*")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FormatError, match="damaged"):
        _ = autoft.open_run(run).record.decisions
    assert "damaged" in refusal(run)


@pytest.mark.parametrize("table", ["trials", "epochs", "decisions", "events", "sealed"])
def test_a_record_that_lost_a_file_does_not_begin_anew(run: Path, table: str) -> None:
    (path,) = (run / "results").glob(f"{table}-*")
    path.unlink()
    assert "damaged" in refusal(run)


def test_rows_that_are_lost_damaged_or_others_are_refused(run: Path) -> None:
    rows = run / "data" / "dataset.arrow"
    content = rows.read_bytes()
    rows.write_bytes(content[:1000])
    assert "is no dataset of autoft, or damaged" in refusal(run)
    rows.unlink()
    assert "has lost data/dataset.arrow" in refusal(run)
    rows.write_bytes(content)
    search = run / "search.yaml"
    text = search.read_text()
    fingerprint = autoft.open_run(run).search.fingerprint
    search.write_text(text.replace(fingerprint, "f" * 64))
    assert "holds other rows than the search began with" in refusal(run)
    search.write_text(text.replace(fingerprint, "../../outside"))
    assert "The fingerprint in" in refusal(run)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("searcher:\n  name: random", "searcher:\n  name: curvs", "Unknown searcher 'curvs'"),
        ("scheduler:\n  name: curves", "scheduler:\n  name: curvs", "Unknown scheduler 'curvs'"),
        ("- accuracy", "- accurcy", "Unknown metric 'accurcy'"),
        ("keep: 10", "keep: many", "'keep' must be a whole number, not 'many'"),
        ("format: 1", "format: 2", "has format 2, this autoft reads up to 1"),
    ],
)
def test_a_search_that_was_changed_by_hand_names_the_mistake(run: Path, old: str, new: str, said: str) -> None:
    text = (run / "search.yaml").read_text()
    assert old in text
    (run / "search.yaml").write_text(text.replace(old, new, 1))
    assert said in refusal(run)
