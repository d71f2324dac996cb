"""The command line as a process of its own: start-up, pipes, a real terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

HEAVY = ("torch", "ray", "timm", "transformers", "hyperopt", "sklearn", "pandas", "pyarrow", "numpy")
AUTOFT = [sys.executable, "-c", "import sys; from autoft.cli import main; sys.exit(main())"]


def loaded(*arguments: str) -> set[str]:
    """Return which heavy packages a command imports."""
    code = (
        "import sys; from autoft.cli import main; main(sys.argv[1:]);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "line", ["--help", "search --help", "submit --help", "--version", "list optimizers", "list metrics"]
)
def test_help_and_lists_import_nothing_heavy(line: str) -> None:
    assert loaded(*line.split()) == set()


def test_a_space_is_checked_without_torch_or_ray() -> None:
    assert loaded("space", "check", "image-classification/quick") <= {"numpy", "pyarrow"}


def test_a_pipe_that_closes_early_is_no_error() -> None:
    line = [*AUTOFT, "list", "backbones", "--format", "json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""


def on_terminal(columns: int, *arguments: str, program: Sequence[str] = AUTOFT) -> str:
    """Return what a command shows on a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment["TERM"] = "xterm-256color"
    with subprocess.Popen([*program, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment) as command:
        os.close(slave)
        parts = []
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux says so when the other side has closed
                break
            if not part:
                break
            parts.append(part)
        assert command.wait() == 0
    os.close(master)
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_a_table_fits_the_terminal_and_folds_prose() -> None:
    shown = on_terminal(80, "list", "optimizers")
    assert "…" not in shown
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines())) <= 80
    assert "arXiv" in shown
    assert "do not fit" not in shown


def test_a_table_says_what_a_narrow_terminal_leaves_out() -> None:
    shown = on_terminal(50, "list", "metrics")
    assert "Share of rows" not in shown
    assert shown.splitlines()[-1] == "1 more column does not fit this terminal: --format csv shows all."


def test_a_comparison_fits_a_terminal_with_every_digit_of_its_figures() -> None:
    rows = [
        {"what": "data fingerprint", "recorded": "a" * 64, "now": "b" * 64, "verdict": "differs"},
        {
            "what": "epoch 12 val_log_loss",
            "recorded": 0.1234567890123456,
            "now": 0.1234567890123457,
            "verdict": "differs",
        },
    ]
    code = f"from autoft.cli.reproduce import print_comparison; print_comparison({rows!r})"
    shown = on_terminal(80, "-c", code, program=[sys.executable])
    assert "fit this terminal" not in shown
    assert re.search(r"a{12} +b{12} +differs", shown)
    assert re.search(r"0\.1234567890123456 +0\.1234567890123457 +differs", shown)


def test_a_space_is_shown_within_the_terminal() -> None:
    for width in (80, 140):
        shown = on_terminal(width, "space", "show", "image-classification/default", "--samples", "1")
        assert max(map(len, shown.splitlines())) <= width
        assert not [line for line in shown.splitlines() if line.endswith(": ")]
        assert "\n  batch_size: {choice: [16, 32, 64], prior: 32}\n" in shown
        table = on_terminal(width, "space", "show", "image-classification/default", "--format", "table")
        assert "active when" in table
        assert "do not fit" not in table


def test_a_mistake_says_itself_on_stderr_and_exits_with_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [*AUTOFT, "search", "nowhere", "--out", "run", "--trials", "none"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: --trials must be a whole number above 0, not 'none'. `autoft search --help` shows all.\n"
    )
