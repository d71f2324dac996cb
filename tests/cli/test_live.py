import io
from typing import Any

import pytest
from rich.console import Console

from autoft.cli.live import LineView, TableView, clock, summary, watching
from autoft.core.configs import Budget
from autoft.core.progress import Best, Progress


def progress(**changes: Any) -> Progress:
    values: dict[str, Any] = {
        "stage": "searching",
        "line": "t0003 epoch 2 of 8: val_accuracy 0.81",
        "seconds_used": 72.0,
        "budget": Budget(trials=8, epochs=8, seconds=300),
        "trials_started": 3,
        "trials_running": 2,
        "epochs_done": 11,
        "best": Best(trial="t0002", column="val_accuracy", value=0.9125),
        "rows": (
            {"rank": 1, "trial": "t0002", "status": "running", "val_accuracy": 0.9125, "test_accuracy": None},
            {"rank": 2, "trial": "p01", "status": "probe", "val_accuracy": 0.9, "test_accuracy": None},
        ),
    }
    return Progress(**(values | changes))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (-3, "0:00")]
)
def test_a_clock_reads(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_summary_says_trials_epochs_best_and_the_time_left() -> None:
    assert summary(progress(), 72.0) == (
        "searching · trials 3/8 · 2 running · 11 epochs · best val_accuracy 0.9125 (t0002) · 1:12 used, 3:48 left"
    )


def test_without_a_limit_of_time_no_time_is_left() -> None:
    assert summary(progress(budget=Budget(trials=8), best=None), 72.0) == (
        "searching · trials 3/8 · 2 running · 11 epochs · 1:12 used"
    )


def test_a_line_is_written_once_an_event() -> None:
    lines: list[str] = []
    view = LineView(lines.append)
    for event in (
        progress(line="", stage="reading the data", seconds_used=0),
        progress(),
        progress(seconds_used=73),
        progress(line="t0004 starts", seconds_used=80),
    ):
        view(event)
    assert lines == [
        "[0:00] reading the data\n",
        "[1:12] t0003 epoch 2 of 8: val_accuracy 0.81\n",
        "[1:20] t0004 starts\n",
    ]


def frame(view: TableView, console: Console) -> str:
    with console.capture() as captured:
        console.print(view.render())
    return captured.get()


def test_the_table_shows_the_state_and_the_leading_rows() -> None:
    console = Console(width=120, height=40, file=io.StringIO(), force_terminal=True, color_system=None)
    view = TableView(console, now=lambda: 0.0)
    assert "starting" in frame(view, console)
    view(progress())
    shown = frame(view, console)
    for text in ("trials 3/8", "3:48 left", "t0002", "p01", "0.9125", "t0003 epoch 2 of 8"):
        assert text in shown
    assert "test_accuracy" not in shown


def test_a_lasting_line_stays_above_the_table() -> None:
    file = io.StringIO()
    console = Console(width=30, height=40, file=file)
    view = TableView(console, now=lambda: 0.0)
    line = "Strong imbalance: '[cat]' has 90 training rows, 'dog' 3."
    view(progress(line=line, lasting=True))
    assert file.getvalue() == f"{line}\n"
    assert "imbalance" not in frame(view, console)


def test_the_clock_of_the_table_runs_between_events() -> None:
    console = Console(width=120, height=40, file=io.StringIO())
    now = 100.0
    view = TableView(console, now=lambda: now)
    view(progress())
    now = 110.0
    assert "1:22 used, 3:38 left" in frame(view, console)


def test_the_table_fits_a_narrow_terminal() -> None:
    console = Console(width=30, height=20, file=io.StringIO())
    view = TableView(console, now=lambda: 0.0)
    view(progress(rows=({"rank": 1, "trial": "t0001", "status": "completed", "a.long.column.name": 0.5},)))
    shown = frame(view, console)
    assert "a.long.column.name" not in shown
    assert max(map(len, shown.splitlines())) <= 30


def test_no_live_table_is_drawn_where_stdout_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as listener:
        listener(progress())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "[1:12] t0003 epoch 2 of 8: val_accuracy 0.81\n"


def test_the_time_that_the_costs_let_expect_is_shown_where_no_less_is_given_and_runs_down() -> None:
    no_limit = progress(budget=Budget(trials=8), best=None, seconds_left=200.0)
    assert summary(no_limit, 72.0).endswith("1:12 used, about 3:20 left")
    assert summary(no_limit, 82.0).endswith("1:22 used, about 3:10 left")
    assert summary(progress(seconds_left=100.0), 72.0).endswith("1:12 used, about 1:40 left")
    assert summary(progress(seconds_left=999.0), 72.0).endswith("1:12 used, 3:48 left")
    lines: list[str] = []
    LineView(lines.append)(no_limit)
    assert lines == ["[1:12, about 3:20 left] t0003 epoch 2 of 8: val_accuracy 0.81\n"]
