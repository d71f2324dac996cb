"""Options that more than one command has, with their help, and what makes an option."""

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


def valued(
    metavar: str,
    text: str,
    panel: str,
    default: str | bool = True,
    *,
    name: str | None = None,
    parser: Callable[[str], Any] | None = None,
) -> Any:
    """Return an option that takes a value.

    Args:
        metavar: What stands for the value.
        text: Its help.
        panel: The group that it is shown in.
        default: What is said of its default; True: the value itself.
        name: Such as "--set"; None: that of the parameter.
        parser: From the text that is given to the value.
    """
    names = () if name is None else (name,)
    return typer.Option(*names, parser=parser, metavar=metavar, help=text, show_default=default, rich_help_panel=panel)


def flag(text: str, panel: str, *names: str) -> Any:
    """Return an option that is given or not.

    Args:
        text: Its help.
        panel: The group that it is shown in.
        names: Such as "--follow" and "-f".
    """
    return typer.Option(*names, help=text, rich_help_panel=panel)


Run = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a search: a path, or s3://, gs:// ...")]
Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder of a model, such as RUN/best.")]
Space = Annotated[str, typer.Argument(metavar="SPACE", help="A shipped space (`autoft list spaces`) or a YAML file.")]

_TRIALS = "Trials to start; the frozen probes are beyond it."
_EPOCHS = "The most epochs of one trial."
_TIME = "Wall clock of the whole command, resumes added up: 30m, 1h30m, 90s, 240 (seconds)."
_HERE = "Ray cluster that this machine is part of; auto: the one that runs here"
_DETACHES = "Ctrl-C only stops watching, and exits with 130."


def _count(text: str, default: str) -> Any:
    return valued("N", text, BUDGET, default, parser=parsing.count)


def _time(default: str) -> Any:
    return valued("DURATION", _TIME, BUDGET, default, parser=parsing.duration)


Trials = Annotated[int | None, _count(_TRIALS, "the space's, also beside --time")]
Epochs = Annotated[int | None, _count(_EPOCHS, "the space's")]
Time = Annotated[float | None, _time("no limit")]

TrialsInAll = Annotated[int | None, _count(f"{_TRIALS} In all, not in addition.", "as before")]
EpochsInAll = Annotated[int | None, _count(_EPOCHS, "as before")]
TimeInAll = Annotated[float | None, _time("as before")]

Cluster = Annotated[str | None, valued("HOST:PORT", f"{_HERE}.", RESOURCES, "a local one")]
ClusterAsBefore = Annotated[
    str | None, valued("HOST:PORT", f"{_HERE}; local: none, this machine searches alone.", RESOURCES, "as before")
]

Follow = Annotated[bool, flag(f"Watch the job until it ends; {_DETACHES}", OUTPUT, "--follow", "-f")]
FollowLog = Annotated[bool, flag(f"Go on until the job ends; {_DETACHES}", OUTPUT, "--follow", "-f")]

Format = Annotated[
    TableFormat,
    valued(
        "FORM",
        "table, csv, json or md.",
        OUTPUT,
        name="--format",
        parser=parsing.choice(*get_args(TableFormat)),
    ),
]
