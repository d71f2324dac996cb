"""`autoft demo`: a small real search on real data, with no network."""

import itertools
import shlex
from pathlib import Path
from typing import Annotated

import typer

from autoft.cli import options
from autoft.cli.live import watching
from autoft.cli.output import cell, emit, print_table
from autoft.cli.search import print_result, resumable
from autoft.core.jsonable import Json


def demo(
    text: Annotated[
        bool, typer.Option("--text", help="Movie reviews with MiniLM, in place of textile pictures.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="New folder for the search.",
            show_default="runs/demo, or the next free one",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Search on real data with real pretrained weights, all from packages; under 5 minutes on 2 cores."""
    from autoft import api

    run = out or _free_folder("runs/demo-text" if text else "runs/demo")
    with resumable(run), watching() as listener:
        shown = api.demo(text=text, out=run, listener=listener)
    print_result(shown.result)
    emit("\nOn the test split, which the search never saw:")
    print_table(
        [
            {"model": f"the winner, {shown.result.best.id}", **_figures(shown.winner_test)},
            {"model": f"frozen-feature baseline, {shown.probe}", **_figures(shown.probe_test)},
        ]
    )
    model = shlex.quote(f"{run}/best")
    example = f"echo {shlex.quote(shown.example)} | autoft predict {model} -"
    emit("\nNext:")
    emit(f"  {example if text else f'autoft predict {model} {shlex.quote(shown.example)}'}")
    emit(f"  autoft evaluate {model} {shlex.quote(str(shown.data))}")
    emit(f"  autoft reproduce {model}/config.yaml --data {shlex.quote(str(shown.data))}")
    emit(f"  autoft log {shlex.quote(run)}")
    emit("  autoft search YOUR_DATA --out runs/mine --time 30m")


def _free_folder(name: str) -> str:
    """Return the first of name, name-2, name-3 ... that is not there yet."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in names if not Path(free).exists())


def _figures(metrics: Json) -> Json:
    """Return each metric with its interval, as "0.83 (0.78 to 0.87)"."""
    return {
        name: " ".join(
            [
                cell(found["value"], short=True),
                f"({cell(found['low'], short=True)} to {cell(found['high'], short=True)})",
            ]
        )
        for name, found in metrics.items()
    }
