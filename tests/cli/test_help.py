"""The help of every command, pinned; `python -m tests.cli.test_help` writes it anew after a change that is meant."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from autoft.cli.app import app

FOLDER = Path(__file__).parent / "help"
COMMANDS = (
    "",
    "demo",
    "doctor",
    "evaluate",
    "experience",
    "experience build",
    "fetch",
    "leaderboard",
    "list",
    "log",
    "logs",
    "predict",
    "replay",
    "reproduce",
    "resume",
    "search",
    "space",
    "space check",
    "space schema",
    "space show",
    "status",
    "stop",
    "submit",
)
ENVIRONMENT = {"COLUMNS": "100", "FORCE_COLOR": None, "GITHUB_ACTIONS": None, "PY_COLORS": None, "TERM": "dumb"}


def shown(command: str, option: str = "--help") -> str:
    outcome = CliRunner(env=ENVIRONMENT).invoke(app, [*command.split(), option], prog_name="autoft")
    assert outcome.exit_code == 0
    return "\n".join(line.rstrip() for line in outcome.stdout.splitlines()).strip() + "\n"


def pinned(command: str) -> Path:
    return FOLDER / f"{'-'.join(['autoft', *command.split()])}.txt"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_is_as_pinned(command: str) -> None:
    assert shown(command) == pinned(command).read_text(encoding="utf-8")


def test_h_is_help() -> None:
    assert shown("search", "-h") == shown("search")


def test_every_command_is_pinned() -> None:
    names = re.findall(r"^│ ([a-z]+) ", shown(""), flags=re.MULTILINE)
    assert sorted(set(names)) == sorted({command.split()[0] for command in COMMANDS if command})
    assert sorted(FOLDER.iterdir()) == sorted(map(pinned, COMMANDS))


def parameters() -> list[Any]:
    root: Any = get_command(app)
    commands = [*root.commands.values(), *root.commands["space"].commands.values()]
    return [pytest.param(one, id=f"{command.name} {one.name}") for command in commands for one in command.params]


@pytest.mark.parametrize("parameter", parameters())
def test_every_option_has_a_help_text_and_says_its_default(parameter: Any) -> None:
    assert parameter.help
    assert parameter.help.endswith(".")
    is_flag = getattr(parameter, "is_flag", False)
    assert is_flag or parameter.required or parameter.default is not None or isinstance(parameter.show_default, str)
    assert is_flag or parameter.metavar


def test_commands_of_later_issues_do_not_exist() -> None:
    for name in ("report", "export", "explain", "serve"):
        assert f"│ {name} " not in shown("")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in COMMANDS:
        pinned(one).write_text(shown(one), encoding="utf-8")
