import json
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from autoft.cli import main, parsing
from autoft.cli.app import app as cli
from autoft.cli.searchfile import META_KEY, REPEATED, apply_file

App = typer.Typer()


@App.command()
def search(
    context: typer.Context,
    data: Annotated[str, typer.Argument()],
    *,
    config: Annotated[Path | None, typer.Option(is_eager=True, callback=apply_file)] = None,
    trials: Annotated[int | None, typer.Option(parser=parsing.count)] = None,
    time: Annotated[float | None, typer.Option(parser=parsing.duration)] = None,
    metric: Annotated[list[str] | None, typer.Option()] = None,
    limit: Annotated[list[str] | None, typer.Option()] = None,
    cpus_per_trial: Annotated[float, typer.Option(parser=parsing.positive)] = 1,
    set_: Annotated[list[str] | None, typer.Option("--set")] = None,
) -> None:
    overrides = {**context.meta.get(META_KEY, {}), **parsing.settings(set_ or ())}
    typer.echo(json.dumps([data, trials, time, metric, cpus_per_trial, overrides, parsing.limits(limit or ())]))


def run(*arguments: str) -> list[object]:
    outcome = CliRunner().invoke(App, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    values: list[object] = json.loads(outcome.stdout)
    return values


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "search.yaml"
    path.write_text(
        "# a search\n"
        "data: photos/\n"
        "trials: 8\n"
        "time: 1h30m\n"
        "metric: [accuracy, -latency_ms]\n"
        "cpus_per_trial: 2\n"
        "limit: parameters=10M\n"
        "set:\n"
        "  optimizer.lr: 1e-4\n"
        "  data.drop_rare: true\n"
        "  batch_size: {choice: [16, 32]}\n"
    )
    return path


def test_a_file_gives_the_argument_and_every_option(file: Path) -> None:
    assert run("--config", str(file)) == [
        "photos/",
        8,
        5400.0,
        ["accuracy", "-latency_ms"],
        2.0,
        {"optimizer.lr": 1e-4, "data.drop_rare": True, "batch_size": {"choice": [16, 32]}},
        {"parameters": 1e7},
    ]


def test_what_stands_on_the_line_wins(file: Path) -> None:
    line = ["birds/", "--trials", "3", "--metric", "f1_macro", "--set", "optimizer.lr=0.1", "--config", str(file)]
    values = run(*line)
    assert values[:4] == ["birds/", 3, 5400.0, ["f1_macro"]]
    assert values[5] == {"optimizer.lr": 0.1, "data.drop_rare": True, "batch_size": {"choice": [16, 32]}}


def test_one_metric_needs_no_list(file: Path) -> None:
    file.write_text("data: x\nmetric: f1_macro\n")
    assert run("--config", str(file))[3] == ["f1_macro"]


@pytest.mark.parametrize("text", ["[parameters=10M, latency_ms=5]", "{parameters: 10M, latency_ms: 5}"])
def test_limits_are_a_list_or_a_map(file: Path, text: str) -> None:
    file.write_text(f"data: x\nlimit: {text}\n")
    assert run("--config", str(file))[6] == {"parameters": 1e7, "latency_ms": 5.0}


def test_a_value_of_null_leaves_the_default(file: Path) -> None:
    file.write_text("data: x\ntrials:\ntime: null\n")
    assert run("--config", str(file))[1:3] == [None, None]


def test_an_empty_file_gives_nothing(file: Path) -> None:
    file.write_text("# nothing yet\n\n")
    assert run("x", "--config", str(file))[0] == "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: x\ntrails: 3\n", "Unknown key 'trails' at {path}:2. Did you mean 'trials'?"),
        ("data: x\n\ncpus-per-trial: 3\n", "Unknown key 'cpus-per-trial' at {path}:3. Did you mean 'cpus_per_trial'?"),
        ("config: other.yaml\n", "Unknown key 'config' at {path}:1."),
        ("confirmed: 2\n", "Unknown key 'confirmed' at {path}:1."),
        ("trials: 8\ntrials: 9\n", "{path}:2 has the key 'trials' again, after {path}:1."),
        ("trials: [8\n", "{path}:2 is not valid YAML"),
        ("- trials\n", "{path}:1 is no map"),
        ("trials: {choice: [1]}\n", "'trials' at {path}:1 must be one value, not {{'choice': [1]}}."),
        ("set: optimizer.lr=3\n", "'set' at {path}:1 must be a map of path: value, not 'optimizer.lr=3'."),
        ("trials: many\n", "--trials must be a whole number above 0, not 'many'."),
        ("time: 5 parsecs\n", "--time must be a duration such as 30m, 1h30m, 90s or 240 (seconds), not '5 parsecs'."),
    ],
)
def test_a_mistake_in_a_file_is_refused_by_name_and_line(
    file: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert main(["search", "x", "--out", str(file.parent / "run"), "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: " + message.format(path=file))
    assert not (file.parent / "run").exists()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "x", "--out", "r", "--config", str(tmp_path / "no.yaml")]) == 2
    message = f"Error: Cannot read the configuration file '{tmp_path}/no.yaml': No such file or directory.\n"
    assert capsys.readouterr().err == message


def test_a_file_in_another_encoding_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes("data: Stra\xdfe".encode("latin-1"))
    assert main(["search", "--out", "r", "--config", str(file)]) == 2
    assert "it is no UTF-8 text" in capsys.readouterr().err


def test_every_option_that_may_be_repeated_may_be_a_list() -> None:
    search = get_command(cli).commands["search"]
    assert {one.name for one in search.params if getattr(one, "multiple", False)} == {*REPEATED, "set_"}
