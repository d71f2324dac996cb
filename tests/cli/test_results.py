"""`leaderboard` and `log` of a run whose record is real; nothing needs to be trained for it."""

import csv
import io
import json
import shutil
import time
from pathlib import Path

import pytest

from autoft.api import open_run
from autoft.api.folder import write_search
from autoft.cli import main
from autoft.core.configs import Budget, DataSpec, EpochResult, Resources, SearchConfig, StrategyConfig, TrialConfig
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.record import RecordWriter
from autoft.space import Choice, LogUniform, SearchSpace
from tests.cli.test_process import loaded

VALUE = 0.8123456789012345


def recorded(folder: Path, *, trials: bool = True) -> Path:
    """Make a run folder with a probe, a trial and two decisions, or with none."""
    space = SearchSpace(
        task="image-classification",
        backbone={"name": "timm:resnet18"},
        optimizer=Choice([{"name": "adamw", "lr": LogUniform(1e-5, 1e-2)}, {"name": "sgd"}]),
    )
    store = Store.open(folder)
    search = SearchConfig(
        task="image-classification",
        data=DataSpec(source="photos"),
        fingerprint="0" * 64,
        space=space.to_json(),
        space_name="custom",
        metrics=("accuracy",),
        budget=Budget(trials=2, epochs=3),
        searcher=StrategyConfig(name="tpe"),
        scheduler=StrategyConfig(name="asha"),
        resources=Resources(),
        address=None,
        seed=0,
    )
    write_search(store, search)
    with RecordWriter(store) as writer:
        writer.append({"event": "search"})
        if not trials:
            return folder
        assignment = {"optimizer": "adamw", "optimizer[adamw].lr": 3e-4}
        for number, (trial, kind, choice, value) in enumerate(
            [("p01", "probe", {}, 0.75), ("t0001", "trial", assignment, VALUE)]
        ):
            reason = f"The first {kind} shows what the default is worth, before anything is searched for."
            decision = {"number": number, "action": "start", "trial": trial, "until_epoch": 1, "reason": reason}
            mode = "probe" if kind == "probe" else "full"
            recipe = complete({"backbone": {"name": "timm:resnet18"}, "finetune": {"mode": mode}}, task=search.task)
            config = TrialConfig(task=search.task, data={}, recipe=recipe, epochs=3, metrics=("accuracy",), seed=0)
            result = EpochResult(
                epoch=1, metrics={"val_accuracy": value}, seconds=1.5, status="completed", is_best=True, reason=""
            )
            start = {"trial": trial, "kind": kind, "assignment": choice, "config": config.to_json(), "until_epoch": 1}
            writer.append({"event": "decision", **decision})
            writer.append({"event": "trial", **start})
            writer.append({"event": "epoch", "trial": trial, "result": result.to_json()})
            writer.append({"event": "status", "trial": trial, "status": "completed", "reason": "trained to its end"})
        writer.append(
            {
                "event": "decision",
                "number": 2,
                "action": "done",
                "trial": None,
                "until_epoch": None,
                "reason": "The budget of 1 trial is used.",
            }
        )
    return folder


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(recorded(tmp_path / "run"))


def test_the_leaderboard_in_json_is_the_rows_best_first(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", run, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["rank"], row["trial"], row["val_accuracy"]) for row in rows] == [(1, "t0001", VALUE), (2, "p01", 0.75)]
    assert list(rows[0])[:3] == ["rank", "trial", "status"]
    assert rows[0]["optimizer.lr"] == 3e-4


def test_the_leaderboard_in_csv_has_every_digit(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", run, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(rows[0]["val_accuracy"]) == VALUE
    assert rows[1]["status"] == "probe"


def test_the_leaderboard_in_a_pipe_has_every_digit_too(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", run]) == 0
    assert str(VALUE) in capsys.readouterr().out


def test_top_and_sort_choose_and_order_the_rows(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", run, "--sort", "trial", "--top", "1", "--format", "json"]) == 0
    assert [row["trial"] for row in json.loads(capsys.readouterr().out)] == ["p01"]


def test_an_unknown_column_is_refused_with_the_nearest(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", run, "--sort", "val_acuracy"]) == 2
    assert "Did you mean 'val_accuracy'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "text"), [("json", "[]\n"), ("csv", "rank,trial,status"), ("md", "| rank |"), ("table", "")]
)
def test_a_search_that_has_not_begun_has_an_empty_leaderboard(
    form: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recorded(tmp_path / "run", trials=False)
    assert main(["leaderboard", str(run), "--format", form]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(text)
    assert captured.err == ("No trial has started yet.\n" if form == "table" else "")


def test_the_log_gives_every_decision_with_its_reason(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", run]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["start", "start", "done"]
    assert lines[2].endswith("The budget of 1 trial is used.")


def test_the_log_of_one_trial_is_about_it_alone(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", run, "--trial", "t0001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[2:4] == ["start", "t0001"]
    assert lines[1:] == ["t0001 is completed: trained to its end"]


def test_the_log_of_a_search_that_has_not_begun_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", str(recorded(tmp_path / "run", trials=False))]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "No decision has been made yet.\n")


def test_an_unknown_trial_is_refused_with_the_nearest(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", run, "--trial", "t001"]) == 2
    assert "There is no trial 't001' in this run. Did you mean 't0001'?" in capsys.readouterr().err


def test_a_trial_that_was_under_way_when_the_search_ended_is_paused(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start = {"trial": "t0002", "kind": "trial", "assignment": {}, "until_epoch": 1}
    config = open_run(run).record.by_name["t0001"].config.to_json()
    with RecordWriter(Store.open(run)) as writer:
        writer.append({"event": "trial", **start, "config": config})
        writer.flush()
        assert open_run(run).record.by_name["t0002"].status == "running"
    assert main(["leaderboard", run, "--format", "json"]) == 0
    assert {row["trial"]: row["status"] for row in json.loads(capsys.readouterr().out)} == {
        "p01": "probe",
        "t0001": "completed",
        "t0002": "paused",
    }
    assert main(["log", run, "--trial", "t0002"]) == 0
    assert capsys.readouterr().out == "t0002 is paused\n"
    board = open_run(run).leaderboard()
    assert board.set_index("trial").status["t0002"] == "paused"


def test_a_search_elsewhere_that_is_silent_for_long_is_said_to_be_and_its_trials_are_paused(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    begun = {"trial": "t0009", "kind": "trial", "assignment": {}, "until_epoch": 1}
    config = open_run(run).record.by_name["t0001"].config.to_json()
    for silent, status in ((10, "running"), (600, "paused")):
        with RecordWriter(Store.open(copy), clock=lambda silent=silent: time.time() - silent) as writer:
            writer.append({"event": "search"})
            writer.append({"event": "trial", **begun, "config": config})
        (copy / "results" / ".lock").write_text('{"host": "elsewhere"}')
        assert open_run(copy).record.by_name["t0009"].status == status
    assert main(["leaderboard", str(copy)]) == 0
    said = capsys.readouterr().err
    assert "Nothing was recorded for 10:0" in said
    assert "or this is a copy" in said
    assert main(["leaderboard", run]) == 0
    assert "Nothing was recorded" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["leaderboard", "log", "resume"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Error: '{tmp_path}' is no run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["leaderboard", "log"])
def test_a_record_is_shown_without_torch_ray_or_pandas(command: str, run: str) -> None:
    assert loaded(command, run) <= {"numpy", "pyarrow"}
