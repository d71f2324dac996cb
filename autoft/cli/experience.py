"""`autoft experience build`: what searches found, in one small file."""

from typing import Annotated

import typer

from autoft.cli import options
from autoft.cli.output import emit, say


def build(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs, folders of runs, or experience files, whose searches are kept; 'shipped' is autoft's own.",
        ),
    ],
    *,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Leave out searches on the data set of that name: its file or folder, without an ending. May be "
            "repeated.",
            show_default="none",
        ),
    ] = None,
    about: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="A sentence to keep in the file: where its searches come from.",
            show_default="none",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "",
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="The file to make: a .parquet.", rich_help_panel=options.OUTPUT),
    ],
) -> None:
    """Make a file of earlier searches, which `autoft search --learn-from FILE` learns from.

    It holds configurations, curves and simple facts of the data, such as their rows and classes; no row of the data.
    """
    from autoft import api

    found = api.build_experience(runs, out=out, without=without or (), about=about)
    for search in found.searches:
        name = search.fingerprint[:12] if search.facts.name is None else search.facts.name
        say(f"{search.task}, {search.objective}: {len(search.trials)} trials on the data {name}")
    emit(f"{len(found.searches)} searches with {found.num_trials} trials: {out}")
