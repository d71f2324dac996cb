import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoft.cli import main
from autoft.cli.failures import describe
from autoft.cli.search import resumable
from autoft.core.errors import Interrupted, SpaceError, WorkError

HELP = "`autoft search --help` shows all."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("serch x", "Unknown command 'serch'. Did you mean 'search'? `autoft --help` shows all."),
        ("xyzzy", "Unknown command 'xyzzy'. `autoft --help` shows all."),
        ("report runs/a", "Unknown command 'report'."),
        ("space shw x", "Unknown command 'shw'. Did you mean 'show'? `autoft space --help` shows all."),
        ("--vresion", "Unknown option '--vresion' of `autoft`. Did you mean '--version'? `autoft --help` shows all."),
        ("search x --trails 3", f"Unknown option '--trails' of `autoft search`. Did you mean '--trials'? {HELP}"),
        ("search x --bogus", f"Unknown option '--bogus' of `autoft search`. {HELP}"),
        (
            "search x --learn-form a --out r",
            "Unknown option '--learn-form' of `autoft search`. Did you mean '--learn-from'",
        ),
        ("search", f"`autoft search` needs DATA. {HELP}"),
        ("search x", f"`autoft search` needs --out. {HELP}"),
        ("search x --out", "--out needs a value."),
        ("search x y --out r", f"`autoft search` takes no further argument 'y'. {HELP}"),
        ("search x --out r --trials 0", f"--trials must be a whole number above 0, not '0'. {HELP}"),
        ("search x --out r --trials a", f"--trials must be a whole number above 0, not 'a'. {HELP}"),
        ("search x --out r --epochs -1", f"--epochs must be a whole number above 0, not '-1'. {HELP}"),
        ("search x --out r --time 0", f"--time must be above 0, not '0'. {HELP}"),
        ("search x --out r --seed 1.5", f"--seed must be a whole number, not '1.5'. {HELP}"),
        ("search x --out r --keep 0", f"--keep must be a whole number above 0, not '0'. {HELP}"),
        ("search x --out r --concurrent 0", f"--concurrent must be a whole number above 0, not '0'. {HELP}"),
        ("search x --out r --cpus-per-trial 0", f"--cpus-per-trial must be a number above 0, not '0'. {HELP}"),
        ("search x --out r --set lr", "--set must be path=value, such as --set optimizer.lr=1e-4, not 'lr'."),
        ("resume", "`autoft resume` needs RUN. `autoft resume --help` shows all."),
        ("leaderboard r --top 0", "--top must be a whole number above 0, not '0'."),
        (
            "leaderboard r --format jsn",
            "--format must be 'table', 'csv', 'json' or 'md', not 'jsn'. Did you mean 'json'?",
        ),
        ("evaluate b d --format csv", "--format must be 'table' or 'json', not 'csv'."),
        ("predict b", "`autoft predict` needs INPUT."),
        ("predict b x --out a.xlsx", "--out must end in .csv, .jsonl or .parquet, not 'a.xlsx'."),
        ("predict b x --out no/a.csv", "--out no/a.csv: there is no folder 'no'."),
        ("reproduce c", "`autoft reproduce` needs --data."),
        ("list", "`autoft list` needs WHAT."),
        ("list optimiser", "WHAT must be 'augmentations'"),
        ("list optimizers --task image", "Unknown task 'image' at --task."),
        ("list losses --search zzz", "No losses match 'zzz'. `autoft list losses` shows all."),
    ],
)
def test_a_mistake_on_the_line_is_one_sentence_and_exit_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Error: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_exit_code_is_the_error_s_own() -> None:
    assert describe(WorkError("All trials failed.")) == ("All trials failed.", 1)
    assert describe(SpaceError(["a.yaml:1: x"])) == ("a.yaml:1: x", 2)


def test_several_mistakes_are_counted_and_stand_a_line_each() -> None:
    assert describe(SpaceError(["a.yaml:1: x", "a.yaml:2: y"])) == ("2 mistakes:\n  a.yaml:1: x\n  a.yaml:2: y", 2)


def test_the_version_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"autoft {version('autoft')}\n"


@pytest.mark.parametrize("line", [[], ["space"]])
def test_a_group_without_a_command_shows_its_help_and_no_error(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    captured = capsys.readouterr()
    assert "Usage: autoft" in captured.out + captured.err
    assert "Error" not in captured.out + captured.err


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_in_a_search_gives_the_line_that_resumes_it(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("format: 1\n")
    with pytest.raises(Interrupted, match=f"Go on with: autoft resume {tmp_path}") as caught, resumable(str(tmp_path)):
        interrupt()
    assert caught.value.exit_code == 130


def test_ctrl_c_before_anything_was_made_promises_no_resume(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="nothing is kept"), resumable(str(tmp_path / "run")):
        interrupt()


def test_an_unexpected_error_is_a_sentence_with_the_path_of_its_traceback(tmp_path: Path) -> None:
    code = "import sys; from autoft.cli.failures import report_unexpected as r; sys.excepthook = r; 1 / 0"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    (file,) = tmp_path.iterdir()
    assert done.stderr == (
        "Error: autoft failed unexpectedly (ZeroDivisionError: division by zero). "
        f"The traceback is in {file}; please report it.\n"
    )
    assert "Traceback (most recent call last)" in file.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("command", [["list", "spaces"], ["list", "backbones"], ["--version"]])
def test_a_full_disk_behind_stdout_is_one_sentence(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "autoft", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "Error: No space left on the disk that is written to.\n")


def test_a_full_disk_is_no_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "schema", "--task", "image-classification", "--out", "/dev/full"]) == 1
    assert capsys.readouterr().err == "Error: --out /dev/full cannot be written: No space left on device.\n"


def test_a_demo_without_a_cache_folder_says_how_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "file"))
    assert main(["demo", "--out", str(tmp_path / "run")]) == 2
    folder = tmp_path / "file" / "demo"
    assert capsys.readouterr().err == (
        f"Error: The demo's data cannot be written to '{folder}': Not a directory. "
        "Set AUTOFT_CACHE to a folder that may be written to.\n"
    )
