"""The commands, and `main`, which runs one and says in one sentence what went wrong."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from autoft.cli.demo import demo
from autoft.cli.doctor import doctor
from autoft.cli.experience import build as build_experience
from autoft.cli.failures import INTERRUPTED, describe, ignore_interrupts, no_space, report_unexpected
from autoft.cli.jobs import fetch, logs, status, stop, submit
from autoft.cli.listing import list_
from autoft.cli.model import evaluate, predict
from autoft.cli.output import emit, say
from autoft.cli.reproduce import reproduce
from autoft.cli.results import leaderboard, log, replay
from autoft.cli.search import resume, search
from autoft.cli.space import check, schema, show
from autoft.core.errors import AutoftError, Interrupted, is_disk_full

_SETTINGS = {"help_option_names": ["-h", "--help"]}
_CLUSTER = "On a cluster"
_SEARCH, _RESULTS, _MODEL, _HERE = "Search", "Results", "The model", "What there is"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        emit(f"autoft {version('autoft')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Give it images or text and a budget: it searches backbone, fine-tuning, augmentation, optimizer and schedule.

    Start with `autoft demo`, or `autoft search DATA --out RUN`.
    """


def _experience() -> None:
    """Keep what searches found, for those to come."""


def build() -> typer.Typer:
    """Return the command line with all its commands."""
    app = typer.Typer(
        name="autoft",
        context_settings=_SETTINGS,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_root)
    app.command(rich_help_panel=_SEARCH)(search)
    app.command(rich_help_panel=_SEARCH)(resume)
    app.command(rich_help_panel=_SEARCH)(demo)
    app.command(rich_help_panel=_CLUSTER)(submit)
    app.command(rich_help_panel=_CLUSTER)(status)
    app.command(rich_help_panel=_CLUSTER)(logs)
    app.command(rich_help_panel=_CLUSTER)(stop)
    app.command(rich_help_panel=_CLUSTER)(fetch)
    app.command(rich_help_panel=_RESULTS)(leaderboard)
    app.command(rich_help_panel=_RESULTS)(log)
    app.command(rich_help_panel=_RESULTS)(replay)
    app.command(rich_help_panel=_RESULTS)(reproduce)
    app.command(rich_help_panel=_MODEL)(predict)
    app.command(rich_help_panel=_MODEL)(evaluate)
    app.command("list", rich_help_panel=_HERE)(list_)
    space = typer.Typer(context_settings=_SETTINGS, no_args_is_help=True)
    space.command()(show)
    space.command()(check)
    space.command()(schema)
    app.add_typer(
        space, name="space", help="Show or check a search space, or write the schema of all.", rich_help_panel=_HERE
    )
    experience = typer.Typer(context_settings=_SETTINGS, no_args_is_help=True)
    experience.callback()(_experience)
    experience.command("build")(build_experience)
    app.add_typer(experience, name="experience", rich_help_panel=_SEARCH)
    app.command(rich_help_panel=_HERE)(doctor)
    return app


app = build()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` are those of the process unless given."""
    sys.excepthook = report_unexpected
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="autoft", standalone_mode=False)
        sys.stdout.flush()  # at the process's end nobody would hear that the disk behind it is full
    except Interrupted as error:
        ignore_interrupts()
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        ignore_interrupts()
        say("Interrupted.")
        return INTERRUPTED
    except (AutoftError, typer.TyperException, typer.Abort) as error:
        message, code = describe(error)
        if message:
            say(f"Error: {message}")
        return code
    except OSError as error:
        if not is_disk_full(error):
            raise
        say(f"Error: {no_space(error)}")
        return 1
    return result if isinstance(result, int) else 0
