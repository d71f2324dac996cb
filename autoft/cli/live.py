"""A search while it runs: a live table on a terminal, one line an event elsewhere; both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoft.cli.output import cell, fitting
from autoft.core.progress import Listener, Progress

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

EXPENDABLE = ("peak_memory_mb", "latency_ms", "parameters", "seconds")
"""Columns of the leaderboard that a narrow terminal leaves out first."""

_ROWS = 12
"""Rows of the leaderboard that the live table shows at most."""


def clock(seconds: float) -> str:
    """Return seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(progress: Progress, seconds_used: float) -> str:
    """Return one line: stage, trials, epochs, best so far, time used and left."""
    budget = progress.budget
    of_trials = f"/{budget.trials}" if budget.trials is not None else ""
    parts = [
        progress.stage,
        f"trials {progress.trials_started}{of_trials}",
        f"{progress.trials_running} running",
        f"{progress.epochs_done} epochs",
    ]
    if progress.best is not None:
        best = progress.best
        parts.append(f"best {best.column} {cell(best.value, short=True)} ({best.trial})")
    left = _left(progress, seconds_used)
    parts.append(f"{clock(seconds_used)} used{left and f', {left}'}")
    return " · ".join(parts)


def _left(progress: Progress, seconds_used: float) -> str:
    """Return the time left in words: that of the budget, or what the costs so far let expect where it is less."""
    limit, expected = progress.budget.seconds, progress.seconds_left
    given = None if limit is None else limit - seconds_used
    if expected is not None:
        expected -= seconds_used - progress.seconds_used
    if expected is not None and (given is None or expected < given - 1):
        return f"about {clock(expected)} left"
    return "" if given is None else f"{clock(given)} left"


@contextmanager
def watching() -> Iterator[Listener]:
    """Show what the listener that this gives is told, until the block ends."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield LineView(sys.stderr.write)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    view = TableView(console)
    with Live(get_renderable=view.render, console=console, refresh_per_second=4, transient=True):
        yield view


class LineView:
    """One line an event, as "[1:23, about 4:56 left] what happened"."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._last = ""
        self._is_heard = True

    def __call__(self, progress: Progress) -> None:
        """Write the latest event, if it is a new one."""
        line = progress.line or progress.stage
        if line == self._last or not self._is_heard:
            return
        self._last = line
        try:
            left = _left(progress, progress.seconds_used) if progress.seconds_left is not None else ""
            self._write(f"[{clock(progress.seconds_used)}{left and f', {left}'}] {line}\n")
        except OSError:  # the pipe's reader or the terminal is gone; the search goes on, the record has all
            self._is_heard = False


class TableView:
    """The state of the search and the top of its leaderboard, drawn anew with every event and every second."""

    def __init__(self, console: "Console", *, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._progress: Progress | None = None
        self._received = now()

    def __call__(self, progress: Progress) -> None:
        """Take the newest snapshot; the next frame shows it. A lasting line stays above the table."""
        self._progress, self._received = progress, self._now()
        if progress.lasting:
            self._console.print(progress.line, markup=False, soft_wrap=True)

    def render(self) -> "RenderableType":
        """Return the current frame."""
        from rich.console import Group
        from rich.text import Text

        progress = self._progress
        if progress is None:
            return Text("starting")
        used = progress.seconds_used + self._now() - self._received
        parts: list[RenderableType] = [Text(summary(progress, used), style="bold", overflow="fold")]
        if progress.rows:
            parts.append(self._table(progress.rows, progress.within_noise))
        if progress.line and not progress.lasting:
            parts.append(Text(progress.line, style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def _table(self, rows: Sequence[dict[str, Any]], near: Sequence[str]) -> "Table":
        from rich.table import Table
        from rich.text import Text

        from autoft.record.leaderboard import marked, short

        leading = marked(rows, near)[: max(3, min(_ROWS, self._console.height - 6))]
        names = dict.fromkeys(name for row in leading for name in row)
        texts = {name: [short(row.get(name), name) for row in leading] for name in names}
        texts = {name: cells for name, cells in texts.items() if any(cells)}
        shown = fitting(texts, self._console.width, expendable=EXPENDABLE)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
        for name in shown:
            table.add_column(Text(name), no_wrap=True)
        for index, row in enumerate(leading):
            is_first = index == 0 and row.get("rank") is not None
            style = "green" if is_first else "dim" if row.get("status") == "running" else ""
            table.add_row(*(Text(texts[name][index]) for name in shown), style=style)
        return table
