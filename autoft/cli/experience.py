"""`autoft experience build`: what searches found, in one small file."""

from typing import Annotated

import typer

from autoft.cli import options
from autoft.cli.output import emit, say


def build(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs, folders of runs, or experience files, whose searches are kept."),
    ],
    *,
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="The file to make: a .parquet.", rich_help_panel=options.OUTPUT),
    ],
) -> None:
    """Make a file of earlier searches, which `autoft search --learn-from FILE` learns from.

    It holds configurations, curves and simple facts of the data, such as their rows and classes; no row of the data.
    """
    from autoft import api

    found = api.build_experience(runs, out=out)
    for search in found.searches:
        say(f"{search.task}, {search.objective}: {len(search.trials)} trials on the data {search.fingerprint[:12]}")
    emit(f"{len(found.searches)} searches with {found.num_trials} trials: {out}")
