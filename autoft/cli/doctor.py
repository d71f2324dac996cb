"""`autoft doctor`: what works on this machine, and what to do about the rest."""

from typing import Annotated

import typer

from autoft.cli.output import emit, on_terminal


def doctor(
    full: Annotated[
        bool, typer.Option("--full", help="Start a local Ray too, which takes up to half a minute.")
    ] = False,
) -> None:
    """Check what a search needs: packages, cores, GPU, disk, weights, the hub, and with --full that Ray starts.

    Exits with 1 when something is missing that a search cannot do without.
    """
    from autoft.cli.checks import checks

    missing = 0
    for check in checks(full=full):
        mark = "ok" if check.ok else "missing" if check.needed else "absent"
        missing += check.needed and not check.ok
        line = f"{mark:<8}{check.name:<16}{check.found}"
        if check.remedy and not check.ok:
            line += f" - {check.remedy}"
        if on_terminal():
            typer.secho(line, fg=None if check.ok else "red" if check.needed else "yellow")
        else:
            emit(line)
    if missing:
        raise typer.Exit(1)
