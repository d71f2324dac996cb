"""Options that more than one command has, with their help."""

from collections.abc import Callable
from typing import Annotated, Any, get_args

import typer

from autoft.cli import parsing
from autoft.cli.output import TableFormat

BUDGET = "Budget"
DATA = "Data"
STRATEGY = "What is searched, and how"
RESOURCES = "Resources"
OUTPUT = "Output"
CLUSTER = "Cluster"

Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a search: a path, or s3://, gs:// ...")]
Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a model, such as RUN/best.")]


def _budget(parser: Callable[[str], Any], metavar: str, text: str, default: str) -> Any:
    return typer.Option(parser=parser, metavar=metavar, help=text, show_default=default, rich_help_panel=BUDGET)


_TRIALS = "Trials to start; the frozen probes are beyond it."
_EPOCHS = "The most epochs of one trial."
_TIME = "Wall clock of the whole command, resumes added up: 30m, 1h30m, 90s, 240 (seconds)."

Trials = Annotated[
    int | None, _budget(parsing.count, "N", _TRIALS, "the space's; as many as the time holds, if --time is given")
]
Epochs = Annotated[int | None, _budget(parsing.count, "N", _EPOCHS, "the space's")]
EpochsPerPass = Annotated[
    int,
    typer.Option(
        parser=parsing.count,
        metavar="N",
        help="Epochs in which a trial goes over the training rows once: with 4 an epoch is a quarter of the data, so "
        "that trials are compared, and given up, sooner.",
        rich_help_panel=BUDGET,
    ),
]
Time = Annotated[float | None, _budget(parsing.duration, "DURATION", _TIME, "no limit")]

TrialsInAll = Annotated[int | None, _budget(parsing.count, "N", f"{_TRIALS} In all, not in addition.", "as before")]
EpochsInAll = Annotated[int | None, _budget(parsing.count, "N", _EPOCHS, "as before")]
TimeInAll = Annotated[float | None, _budget(parsing.duration, "DURATION", _TIME, "as before")]

Format = Annotated[
    TableFormat,
    typer.Option(
        "--format",
        parser=parsing.choice(*get_args(TableFormat)),
        metavar="FORM",
        help="table, csv, json or md.",
        rich_help_panel=OUTPUT,
    ),
]
