"""`autoft leaderboard`, `autoft log` and `autoft replay`: what a finished or running search has recorded."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli import options, parsing
from autoft.cli.live import EXPENDABLE, clock
from autoft.cli.output import emit, on_terminal, print_table, say
from autoft.core.freed import keep_freed_memory
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.api import SearchResult


def leaderboard(
    run: options.Run,
    top: Annotated[
        int | None,
        typer.Option(
            parser=parsing.count,
            metavar="N",
            help="The best N rows alone.",
            show_default="all",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="Column to sort by, best first.", show_default="rank", rich_help_panel=options.OUTPUT
        ),
    ] = None,
    form: options.Format = "table",
) -> None:
    """Show every trial of a search, best first; also while it runs."""
    with _in_haste():
        _show(run, top=top, sort=sort, form=form)


def _show(run: str, *, top: int | None, sort: str | None, form: options.Format) -> None:
    from autoft import api
    from autoft.record.leaderboard import NOISE, column_names, format_rows, marked

    result = api.open_run(run)
    rows = result.rows(top=top, sort=sort)
    if form == "table":
        print_leaderboard(rows, result.within_noise, whole="--format csv")
        print_footnotes(result)
    elif form == "md":
        names = [name for name in column_names(result.search, result.space.column_names) if name != NOISE]
        emit(format_rows(marked(rows, result.within_noise), form, names))
        print_footnotes(result)
    else:
        columns = list(rows[0]) if rows else column_names(result.search, result.space.column_names)
        emit(format_rows(rows, form, columns))


@contextmanager
def _in_haste() -> Iterator[None]:
    """Look for no cycles and keep freed memory meanwhile: over a large record either takes time."""
    keep_freed_memory()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def print_leaderboard(rows: Sequence[Json], near: Sequence[str], *, whole: str) -> None:
    """Print the leaderboard's rows as a table; the trials in `near` are marked as within noise of the best.

    Args:
        rows: The rows.
        near: Trials to mark.
        whole: As of `print_table`.
    """
    from autoft.record.leaderboard import marked, short

    if not rows:
        say("No trial has started yet.")
        return
    shown = marked(rows, near)
    columns = list(shown[0])
    if on_terminal():
        columns = [name for name in columns if any(row[name] is not None for row in shown)]
    print_table(shown, columns=columns, expendable=EXPENDABLE, shorten=short, whole=whole)


def print_footnotes(result: "SearchResult") -> None:
    """Say what the marks on the leaderboard mean, how its winner was chosen, and how far the test can be trusted."""
    from autoft.record.leaderboard import footnotes

    for line in footnotes(result.record, result.search):
        say(line)
    if result.silence is not None:
        say(f"Nothing was recorded for {clock(result.silence)}; a search records its time every ten seconds.")
        say("So it was killed, cannot reach its folder, or this is a copy: what ran is shown as paused.")


def log(
    run: options.Run,
    trial: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Decisions about this trial alone, such as t0003.",
            show_default="all",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Show every decision of a search, with its reason."""
    from autoft import api
    from autoft.record.log import lines

    shown = list(lines(api.open_run(run).record, trial))
    for line in shown:
        emit(line)
    if not shown:
        say("No decision has been made yet.")


def replay(run: options.Run) -> None:
    """Take every decision of a search again, from what was known then, and say which is the first that differs.

    Exits with 1 when one does: the record, or what decides, is not as it was.
    """
    from autoft import api

    outcome = api.replay(run)
    found = outcome.difference
    if found is None:
        say(f"All {outcome.num_decisions} decisions are taken again as they were recorded.")
        return
    rows = [
        {"what": name, "recorded": found.recorded[name], "now": found.now[name]}
        for name in found.recorded
        if found.recorded[name] != found.now[name]
    ]
    print_table(rows, columns=("what", "recorded", "now"))
    say(f"Decision {found.number} differs; the {outcome.num_decisions - 1} before it are as they were recorded.")
    raise typer.Exit(1)
