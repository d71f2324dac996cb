"""Every way a command may end badly, as one message and an exit code."""

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType

import typer

from autoft.core.errors import AutoftError, ConfigError, SpaceError, WorkError, is_disk_full, nearest

INTERRUPTED = 130
_MOST_MISTAKES = 20
_QUOTE, _DASHED = "'", "'--"


def describe(error: Exception) -> tuple[str, int]:
    """Return the sentence to show for an error that is expected, "" where help was shown instead, and the exit code."""
    if isinstance(error, SpaceError) and len(error.problems) > 1:
        more = len(error.problems) - _MOST_MISTAKES
        rest = [f"and {more} more."] if more > 0 else []
        lines = [f"{len(error.problems)} mistakes:", *error.problems[:_MOST_MISTAKES], *rest]
        return "\n  ".join(lines), error.exit_code
    if isinstance(error, AutoftError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return _usage(error), error.exit_code
    return "Aborted.", 1


def _usage(error: typer.TyperException) -> str:
    """Say a mistake of the command line as one sentence: what was seen, the nearest right one, where all stand."""
    message = error.format_message().strip()
    if not message:
        return ""
    context: typer.Context | None = getattr(error, "ctx", None)
    path = context.command_path if context else "autoft"
    return f"{_closed(_mistake(error, context, path, message))} `{path} --help` shows all."


def _mistake(error: typer.TyperException, context: typer.Context | None, path: str, message: str) -> str:
    """Return what is wrong; typer's classes of mistakes are known by their names alone, it exports but one."""
    parameter = getattr(error, "param", None)
    name = (parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar) if parameter else ""
    text = message
    match type(error).__name__:
        case "NoSuchOption":
            option: str = error.option_name  # type: ignore[attr-defined]
            known = [word.lstrip("-") for item in context.command.params for word in item.opts] if context else []
            close = nearest(option.lstrip("-"), known).replace(_QUOTE, _DASHED, 1)
            text = f"Unknown option '{option}' of `{path}`.{close}"
        case "MissingParameter" if name:
            text = f"`{path}` needs {name.rstrip('.')}"
        case "BadParameter" if name:
            text = f"{name} {error.message}"
        case "BadOptionUsage":
            text = f"{error.option_name} needs a value"  # type: ignore[attr-defined]
        case "UsageError" if message.startswith("Got unexpected extra argument"):
            text = f"`{path}` takes no further argument '{message.partition('(s) (')[2].rstrip('.)')}'"
        case "UsageError" if message.startswith("No such command"):
            typed = message.split(_QUOTE)[1]
            commands = getattr(context.command, "commands", ()) if context else ()
            text = f"Unknown command '{typed}'.{nearest(typed, commands)}"
    return text


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?")) else f"{sentence}."


def unwritable(option: str, out: Path, error: OSError) -> AutoftError:
    """Return the error for a file that cannot be written: the person's mistake, unless the disk is full."""
    kind = WorkError if is_disk_full(error) else ConfigError
    return kind(f"{option} {out} cannot be written: {error.strerror or error}.")


def no_space(error: OSError) -> str:
    """Return the sentence for a full disk; what it refuses of stdout is dropped, else the process's end would fail."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(ValueError):  # a stream that is no file
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)
    place = "that is written to" if error.filename is None else f"of '{error.filename}'"
    return f"No space left on the disk {place}."


def ignore_interrupts() -> None:
    """Let no further Ctrl-C disturb a process that ends already."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def report_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one sentence that autoft itself failed, and write the traceback to a file; for `sys.excepthook`.

    A hook, so that no command needs a catch-all; Python then exits with 1.
    """
    text = "".join(traceback.format_exception(kind, error, trace))
    first = str(error).strip().splitlines()
    summary = f"{kind.__name__}: {first[0]}" if first else kind.__name__
    try:
        handle, path = tempfile.mkstemp(prefix="autoft-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{' '.join(sys.argv)}\n\n{text}")
    except OSError:
        sys.stderr.write(text)
        return
    sys.stderr.write(f"Error: autoft failed unexpectedly ({summary}). The traceback is in {path}; please report it.\n")
