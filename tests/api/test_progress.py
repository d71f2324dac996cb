import time
from pathlib import Path

import pytest

import autoft
from autoft.api import laying
from autoft.core.progress import Progress


def test_rows_that_are_read_are_told_now_and_then() -> None:
    told: list[Progress] = []
    report = laying.counting(told.append, time.monotonic(), every=0.0)
    assert report is not None
    report(50, 12_000)
    assert [(one.stage, one.line) for one in told] == [("reading the data", "50 of 12,000 rows are read")]
    seldom = laying.counting(told.append, time.monotonic(), every=60.0)
    assert seldom is not None
    seldom(100, 12_000)
    assert len(told) == 1


def test_nobody_is_told_where_nobody_listens() -> None:
    assert laying.counting(None, 0.0) is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"searcher": "tpa"}, "Unknown searcher 'tpa'. Did you mean 'tpe'"),
        ({"scheduler": "ash"}, "Unknown scheduler 'ash'. Did you mean 'asha'"),
        ({"scheduler": autoft.StrategyConfig(name="asha", options={"grac": 1})}, "has no option 'grac'. Did you mean"),
        ({"scheduler": autoft.StrategyConfig(name="asha", options={"grace": 0})}, "option grace must be"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused_and_nothing_is_made(
    options: dict[str, str], text: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(autoft.UserError, match=text):
        autoft.search(str(pictures), out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
