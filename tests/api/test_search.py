import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import autoft
from autoft.api import SearchResult
from autoft.core.jsonable import Json
from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.record.reader import read_events
from autoft.space import Choice
from tests.conftest import TINY_SPACE

SearchHere = Callable[..., SearchResult]
MEASURED = {"seconds", "latency_ms", "peak_memory_mb"}


def comparable(rows: list[Json]) -> list[Json]:
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def test_every_backbone_is_probed_and_the_default_comes_first(finished: SearchResult) -> None:
    started = [row.trial for row in finished.record.trials]
    assert started == ["p01", "p02", "t0001", "t0002", "t0003", "t0004"]
    assert [row.kind for row in finished.record.trials] == ["probe"] * 2 + ["trial"] * 4
    default = finished.space.default()
    assert finished.record.by_name["t0001"].assignment == default
    assert [finished.trial(p).configuration.recipe["backbone"]["name"] for p in ("p01", "p02")] == [
        "timm:test_resnet",
        "timm:test_efficientnet",
    ]


def test_the_leaderboard_is_a_frame_best_first_with_the_stated_columns(finished: SearchResult) -> None:
    frame = finished.leaderboard()
    assert list(frame.columns[:10]) == [
        *("rank", "trial", "status", "val_accuracy", "test_accuracy"),
        *("epochs", "seconds", "parameters", "latency_ms", "peak_memory_mb"),
    ]
    assert list(frame.columns[10:]) == [*finished.space.column_names, "logme"]
    assert len(frame) == 6
    assert frame["val_accuracy"].is_monotonic_decreasing
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5, 6]


def test_every_epoch_says_where_its_seconds_went(finished: SearchResult) -> None:
    for row in finished.record.trials:
        for result in row.epochs:
            wait = result.timings["wait"]
            assert sum(result.timings.values()) - wait == pytest.approx(result.seconds, abs=1e-9)
            assert wait > 0


def test_a_search_that_is_asked_to_keeps_a_trace_of_its_first_trial_alone(finished: SearchResult) -> None:
    logs = Path(finished.folder) / "logs"
    assert [path.name for path in logs.iterdir() if path.suffix == ".gz"] == ["t0001.trace.json.gz"]
    trace = json.loads(gzip.decompress((logs / "t0001.trace.json.gz").read_bytes()))
    names = {event.get("name") for event in trace["traceEvents"]}
    assert {"aten::convolution", "aten::convolution_backward"} <= names


def test_seconds_sort_the_leaderboard(finished: SearchResult) -> None:
    seconds = [row["seconds"] for row in finished.rows(sort="seconds")]
    assert seconds == sorted(seconds)


def test_only_the_winner_is_tested(finished: SearchResult) -> None:
    tested = [row["trial"] for row in finished.rows() if row["test_accuracy"] is not None]
    assert tested == [finished.best.id]


def test_the_winner_is_no_worse_than_any_probe_or_the_default(finished: SearchResult) -> None:
    rows = {row["trial"]: row["val_accuracy"] for row in finished.rows()}
    assert finished.best.metrics["val_accuracy"] == max(rows.values())


def test_the_model_predicts_from_raw_files(finished: SearchResult, pictures: Path) -> None:
    paths = [str(pictures / "red" / "000.png"), str(pictures / "blue" / "001.png")]
    assert finished.model.predict(paths) == ["red", "blue"]
    assert finished.model.predict_proba(paths).sum(axis=1).tolist() == pytest.approx([1, 1])


def test_the_bundle_gives_the_recorded_test_accuracy_again(finished: SearchResult) -> None:
    from autoft.data import open_dataset

    dataset = open_dataset(Path(finished.folder) / "data" / "dataset.arrow")
    predicted = finished.model.probabilities(dataset.inputs("test")).argmax(axis=1)
    accuracy = float((predicted == dataset.targets("test")).mean())
    assert accuracy == finished.best.metrics["test_accuracy"]


@pytest.mark.parametrize("trial", ["p01", "p02", "t0001", "t0002", "t0003", "t0004"])
def test_every_trial_is_reproduced_to_the_last_digit(finished: SearchResult, pictures: Path, trial: str) -> None:
    again = autoft.reproduce(finished.folder, trial=trial, data=str(pictures))
    assert again.exact
    assert again.notes == []
    assert [row for row in again.rows if row["verdict"] != "equal"] == []
    assert again.matches
    assert [row["what"] for row in again.rows[:2]] == ["data fingerprint", "pretrained weights"]
    assert any(row["what"].startswith("epoch") and row["what"].endswith("weights") for row in again.rows)


def test_the_bundles_configuration_reproduces_from_its_file_alone(
    finished: SearchResult, pictures: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "config.yaml"
    copy.write_bytes((Path(finished.folder) / "best" / "config.yaml").read_bytes())
    assert autoft.reproduce(copy, data=str(pictures)).matches


def test_other_data_are_told_by_the_fingerprint_before_anything_is_trained(
    finished: SearchResult, tmp_path: Path
) -> None:
    from tests.conftest import write_pictures

    other = write_pictures(tmp_path / "other", per_class=19)
    again = autoft.reproduce(Path(finished.folder) / "best" / "config.yaml", data=str(other))
    assert not again.matches
    assert [row["what"] for row in again.rows] == ["data fingerprint"]


def test_other_pretrained_weights_are_told_before_anything_is_trained(
    finished: SearchResult, pictures: Path, tmp_path: Path
) -> None:
    import yaml

    values = finished.trial("t0001").configuration.to_json() | {"reported": finished.reported("t0001")}
    values["weights"]["sha256"] = "0" * 64
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    again = autoft.reproduce(tmp_path / "config.yaml", data=str(pictures))
    assert not again.matches
    assert [(row["what"], row["verdict"]) for row in again.rows] == [
        ("data fingerprint", "equal"),
        ("pretrained weights", "differs"),
    ]


def test_a_changed_setting_does_not_match(finished: SearchResult, pictures: Path, tmp_path: Path) -> None:
    import yaml

    trial = finished.trial("t0001").configuration
    values = trial.to_json() | {"reported": finished.reported("t0001"), "seed": trial.seed + 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert not autoft.reproduce(tmp_path / "config.yaml", data=str(pictures)).matches


def test_the_same_seed_makes_the_same_decisions_twice(search_here: SearchHere, finished: SearchResult) -> None:
    def searched() -> tuple[list[Any], list[Json]]:
        result = search_here(
            overrides={"backbone.name": "timm:test_resnet"},
            budget=autoft.Budget(trials=4, epochs=3),
            seed=7,
        )
        decisions = [(d.action, d.trial, d.until_epoch, d.reason) for d in result.record.decisions]
        return decisions, comparable(result.rows())

    assert searched() == searched()


def test_a_finished_search_resumed_with_nothing_more_to_do_stays_as_it_is(
    finished: SearchResult, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished.folder, tmp_path / "run")
    assert autoft.resume(copy).rows() == finished.rows()


def test_a_budget_of_seconds_is_kept_within_the_longest_epoch(search_here: SearchHere) -> None:
    told: dict[str, float] = {}

    def listen(progress: Progress) -> None:
        if " epoch " in progress.line:
            told.setdefault(progress.line, progress.seconds_used)

    result = search_here(
        overrides={"finetune.mode": "full", "backbone.name": "timm:test_resnet"},
        budget=autoft.Budget(seconds=25, epochs=10_000),
        listener=listen,
    )
    longest = max(epoch.seconds for row in result.record.trials for epoch in row.epochs)
    # A busy machine may take longer to start a worker; and tell late, and test slowly, what the epochs did not foresee.
    limit = max(25, min(told.values())) + longest
    assert max(told.values()) <= limit + 5
    assert result.record.seconds_used <= limit + 60
    assert (Path(result.folder) / "best" / "config.yaml").exists()


@dataclass(frozen=True)
class Grown:
    """A search on frames in memory, as it was after one trial and as it is after three."""

    train: pd.DataFrame
    val: pd.DataFrame
    first: list[Json]
    result: SearchResult


@pytest.fixture(scope="module")
def grown(search_here: SearchHere, pictures: Path) -> Grown:
    paths = sorted(pictures.glob("*/*.png"))
    frame = pd.DataFrame({"picture": [str(path) for path in paths], "colour": [path.parent.name for path in paths]})
    val, train = frame[::4].reset_index(drop=True), frame.drop(frame.index[::4]).reset_index(drop=True)
    first = search_here(
        data=train,
        val=val,
        target="colour",
        overrides={"finetune.mode": "head"},
        budget=autoft.Budget(trials=1, epochs=1),
    )
    rows = first.rows()
    return Grown(train, val, rows, autoft.resume(first.folder, autoft.Budget(trials=3)))


def test_a_resume_with_more_trials_goes_on_counting(grown: Grown) -> None:
    assert [row["trial"] for row in sorted(grown.first, key=lambda row: row["trial"])] == ["p01", "p02", "t0001"]
    assert [row.trial for row in grown.result.record.trials] == ["p01", "p02", "t0001", "t0002", "t0003"]
    kept = {row["trial"]: row for row in grown.first}
    now = {row["trial"]: row for row in grown.result.rows()}
    for trial in ("p01", "p02", "t0001"):
        assert now[trial]["val_accuracy"] == kept[trial]["val_accuracy"]
    with pytest.raises(autoft.UserError, match="a resume can raise it, not lower it to 2"):
        autoft.resume(grown.result.folder, autoft.Budget(trials=2))
    with pytest.raises(autoft.UserError, match="The search has 1 epochs_per_pass, and a resume cannot change it"):
        autoft.resume(grown.result.folder, autoft.Budget(epochs_per_pass=2))


def test_data_in_memory_are_searched_resumed_and_reproduced_with(grown: Grown) -> None:
    assert grown.result.search.data.source is None
    assert autoft.reproduce(grown.result.folder, data=grown.train, val=grown.val).matches
    assert autoft.reproduce(f"{grown.result.folder}/best/config.yaml", data=grown.train, val=grown.val).matches


@pytest.fixture(scope="module")
def chosen(search_here: SearchHere) -> SearchResult:
    """Return a search of a space in Python, by two metrics, that keeps one checkpoint."""
    space = autoft.SearchSpace(
        task="image-classification",
        backbone=TINY_SPACE["backbone"]["choice"][0],
        finetune={"mode": "head"},
        batch_size=Choice([8, 16]),
    )
    return search_here(
        space=space,
        metric=["log_loss", "roc_auc"],
        keep=1,
        scheduler="none",
        budget=autoft.Budget(trials=3, epochs=2),
    )


def test_the_python_form_of_a_space_is_searched(chosen: SearchResult) -> None:
    completed = sorted(row["trial"] for row in chosen.rows() if row["status"] == "completed")
    assert completed == ["t0001", "t0002", "t0003"]
    assert {row["batch_size"] for row in chosen.rows() if row["status"] == "completed"} <= {8, 16}


def test_only_the_leading_checkpoints_are_kept(chosen: SearchResult) -> None:
    kept = sorted(path.name for path in (Path(chosen.folder) / "checkpoints").iterdir())
    assert kept == [chosen.best.id]


def test_several_metrics_are_columns_and_the_first_ranks_within_a_front(chosen: SearchResult) -> None:
    values = [(row["front"], row["val_log_loss"]) for row in chosen.rows()]
    assert values == sorted(values)
    assert all(0 <= row["val_roc_auc"] <= 1 for row in chosen.rows())
    assert chosen.search.metrics == ("log_loss", "roc_auc")


def test_a_cost_alone_makes_a_front_with_accuracy_that_is_confirmed_within_a_limit(
    search_here: SearchHere,
) -> None:
    lines: list[str] = []
    result = search_here(
        budget=autoft.Budget(trials=3, epochs=1),
        metric="-latency_ms",
        confirm=1,
        limits={"parameters": 150_000},
        listener=lambda progress: lines.append(progress.line),
    )
    assert "accuracy is put before -latency_ms: by a cost alone the smallest model would win, trained or not." in lines
    assert result.search.metrics == ("accuracy", "-latency_ms")
    assert "Left out, since they have more than 150,000 parameters: timm:test_resnet." in lines
    board = result.leaderboard()
    columns = ["front", "val_accuracy", "test_accuracy", "mean_accuracy", "mean_latency_ms", "seeds", "epochs"]
    assert list(board.columns[3:10]) == columns
    assert set(board["trial"]) - {"t0001-s2", "t0002-s2"} == {"p01", "t0001", "t0002"}
    assert sorted(board["seeds"].dropna()) == [1, 2]
    assert result.best.configuration.recipe["backbone"]["name"] == "timm:test_efficientnet"
    assert board["front"][0] == 1
    fronts = [event for event in read_events(Store.open(result.folder)) if event["event"] == "front"]
    assert fronts[-1]["trials"] == list(board["trial"][board["front"] == 1])
    assert 0 <= fronts[-1]["hypervolume"] <= 1


@pytest.mark.slow
def test_an_object_of_rays_decides_and_a_resume_asks_for_an_equal_one(search_here: SearchHere) -> None:
    from ray.tune.schedulers import MedianStoppingRule

    scheduler = MedianStoppingRule(grace_period=1)
    first = search_here(scheduler=scheduler, searcher="random", budget=autoft.Budget(trials=1, epochs=1))
    assert first.search.scheduler == autoft.StrategyConfig(name="ray-object:MedianStoppingRule")
    more = autoft.Budget(trials=2)
    with pytest.raises(autoft.UserError, match=r"go on with autoft.resume\(RUN, scheduler=...\), giving an equal one"):
        autoft.resume(first.folder, more)
    with pytest.raises(autoft.UserError, match="The searcher of this search is random, and a resume cannot change it"):
        autoft.resume(first.folder, more, searcher="tpe", scheduler=scheduler)
    grown = autoft.resume(first.folder, more, scheduler=scheduler)
    assert [row.status for row in grown.record.trials] == ["probe", "probe", "completed", "completed"]
