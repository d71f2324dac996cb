"""`autoft reproduce`: train a recorded configuration again, and compare."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from autoft.cli import options
from autoft.cli.live import watching
from autoft.cli.output import cell, print_table, say
from autoft.core.jsonable import Json

_HASH = 64
"""Digits of a SHA-256."""
_HASH_SHOWN = 12


def reproduce(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="config.yaml of a bundle, or the folder of a search with --trial."),
    ],
    *,
    data: Annotated[
        str, typer.Option(metavar="DATA", help="The data that it was trained on.", rich_help_panel=options.DATA)
    ],
    val: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The search's own validation data, if it had some.",
            show_default="where the search found them",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The search's own test data, if it had some.",
            show_default="where the search found them",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Which trial of a search's folder, such as t0003 or p01.",
            show_default="the best",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the model that is trained again.",
            show_default="not kept",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Train a configuration again and compare every figure with what was recorded.

    Exits with 1, and shows what differs, when it does not match.
    """
    from autoft import api

    with watching() as listener:
        reproduction = api.reproduce(config, data=data, val=val, test=test, trial=trial, out=out, listener=listener)
    print_comparison(reproduction.rows)
    for note in reproduction.notes:
        say(note)
    if not reproduction.matches:
        say("It does not match.")
        raise typer.Exit(1)
    say("It matches to the last digit." if reproduction.exact else "It matches within the tolerance.")


def print_comparison(rows: Sequence[Json]) -> None:
    """Print what was recorded beside what is now."""
    print_table(rows, columns=("what", "recorded", "now", "verdict"), shorten=_shown)


def _shown(value: Any, column: str) -> str:
    """Return a terminal's cell: every digit of a figure, since the last one counts, and the first of a hash."""
    text = cell(value, short=False)
    return text[:_HASH_SHOWN] if column in ("recorded", "now") and len(text) == _HASH else text
