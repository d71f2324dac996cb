import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import autoft
from autoft.api import SearchResult, build_experience, replay
from autoft.api.experience import data_names, learned, past_search_of, shipped_experience
from autoft.api.folder import read_experience, read_search
from autoft.core.errors import ConfigError, FormatError
from autoft.core.storage import Store
from autoft.space import SearchSpace, load_space, shipped_folder
from autoft.strategies.experience import DataFacts, from_bytes, to_bytes
from autoft.strategies.experience.lessons import Lessons
from tests.conftest import TINY_SPACE
from tests.strategies.experience.pasts import experience

SearchHere = Callable[..., SearchResult]
SPACE = SearchSpace.from_json(TINY_SPACE)


@pytest.fixture
def past_file(tmp_path: Path) -> Path:
    file = tmp_path / "past.parquet"
    file.write_bytes(to_bytes(experience(1, 2)))
    return file


def test_a_run_is_experience(finished: SearchResult) -> None:
    search = past_search_of(finished.folder)
    trials = [row for row in finished.record.trials if row.kind == "trial"]
    assert (search.task, search.objective, search.epochs) == ("image-classification", "accuracy", 3)
    assert search.fingerprint == finished.search.fingerprint
    assert len(search.trials) == len(trials)
    assert [trial.recipe["optimizer.name"] for trial in search.trials] == [
        row.config.recipe["optimizer"]["name"] for row in trials
    ]
    assert [len(trial.losses) for trial in search.trials] == [len(row.epochs) for row in trials]
    assert [trial.seconds for trial in search.trials] == [sum(e.seconds for e in row.epochs) for row in trials]
    assert min(trial.loss for trial in search.trials) == 0.0


def test_its_data_are_described_by_simple_facts(finished: SearchResult) -> None:
    facts = past_search_of(finished.folder).facts
    assert (facts.rows, facts.classes, facts.imbalance, facts.text_length) == (36, 3, 1.0, None)
    assert facts.input_size == 40.0
    assert facts.probes == {
        "timm:test_resnet": finished.trial("p01").metrics["val_accuracy"],
        "timm:test_efficientnet": finished.trial("p02").metrics["val_accuracy"],
    }


def test_a_file_is_built_of_runs_folders_of_runs_and_files(finished: SearchResult, past_file: Path) -> None:
    run = Path(finished.folder)
    whole = build_experience([run, past_file], out=past_file.parent / "whole.parquet")
    assert [search.fingerprint for search in whole.searches if search.fingerprint in "12"] != []
    assert len(whole.searches) == 3
    assert from_bytes((past_file.parent / "whole.parquet").read_bytes(), where="whole") == whole
    (past_file.parent / "runs").mkdir()
    (past_file.parent / "runs" / "one").symlink_to(run)
    assert build_experience([past_file.parent / "runs", past_file], out=past_file.parent / "same.parquet") == whole


@pytest.mark.parametrize(
    ("runs", "out", "problem"),
    [
        ([], "x.parquet", "Give at least one run"),
        (["."], "x.pkl", r"An experience file ends in \.parquet, and '.*x\.pkl' does not"),
        (["nowhere.parquet"], "x.parquet", "There is no experience file '.*nowhere.parquet'"),
        (["."], "x.parquet", "is no run, holds none, and is no experience file"),
    ],
)
def test_what_gives_no_experience_is_refused(tmp_path: Path, runs: list[str], out: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((ConfigError, FormatError), match=problem):
        build_experience([tmp_path / "empty" / run for run in runs], out=tmp_path / out)


def test_none_of_another_task_or_space_is_learned_from(past_file: Path, finished: SearchResult) -> None:
    rows = Path(finished.folder) / "data" / "dataset.arrow"
    with pytest.raises(
        ConfigError, match=r"There is no search of text-classification to learn from in .*, but image-cl"
    ):
        learned([past_file], task="text-classification", space=SPACE, dataset=rows)
    with pytest.raises(
        ConfigError, match="None of the 80 trials that the search is to learn from is in the space 'custom'"
    ):
        learned([past_file], task="image-classification", space=SPACE, dataset=rows)
    assert learned([], task="image-classification", space=SPACE, dataset=rows) is None


TASKS = ("image-classification", "text-classification")


@pytest.mark.parametrize("task", TASKS)
def test_what_ships_is_of_five_data_sets_each_and_wholly_in_the_quick_space(task: str) -> None:
    shipped = shipped_experience(task)
    assert len({search.facts.name for search in shipped.searches}) == len(data_names(shipped)) == 5
    assert {(search.task, search.epochs) for search in shipped.searches} == {(task, 3)}
    space = load_space(f"{task}/quick")
    assert Lessons(space, shipped).num_trials == shipped.num_trials == 10 * len(shipped.searches)
    assert all(search.facts.probes and search.facts.rows in range(100, 130) for search in shipped.searches)


@pytest.mark.parametrize(
    ("space", "overrides", "count"),
    [
        ("image-classification/quick", {"backbone.name": "timm:tf_efficientnet_lite1"}, 15),
        ("image-classification/default", {"backbone.name": "timm:tf_efficientnet_lite0"}, 35),
        ("image-classification/quick", {"finetune.mode": "head"}, 25),
        ("text-classification/default", {"backbone.name": "hf:sentence-transformers/all-MiniLM-L6-v2"}, 50),
        ("text-classification/quick", {"finetune.mode": "head"}, 15),
    ],
)
def test_a_space_narrowed_to_a_backbone_or_a_mode_learns_from_what_ships_of_it(
    space: str, overrides: dict[str, str], count: int
) -> None:
    narrowed = load_space(space).narrowed(overrides)
    assert Lessons(narrowed, shipped_experience(narrowed.task)).num_trials == count


def test_a_space_narrowed_to_a_backbone_of_which_nothing_ships_is_refused() -> None:
    narrowed = load_space("image-classification/default").narrowed({"backbone.name": "timm:resnet50.a1_in1k"})
    with pytest.raises(ConfigError, match="None of the 50 trials that the search is to learn from is in the space"):
        Lessons(narrowed, shipped_experience(narrowed.task)).require()


@pytest.mark.parametrize("task", TASKS)
def test_the_file_that_ships_is_small_and_says_where_it_comes_from(task: str) -> None:
    file = shipped_folder().joinpath(task, "experience.parquet")
    content = file.read_bytes()
    assert len(content) < 32_000
    about = json.loads(pq.read_schema(pa.BufferReader(content)).metadata[b"autoft"])["about"]
    assert "python -m benchmarks.build_experience" in about
    assert all(name in about for name in data_names(shipped_experience(task)))


def test_a_file_is_built_of_what_ships_less_a_data_set(tmp_path: Path) -> None:
    built = build_experience(["shipped"], out=tmp_path / "others.parquet", without=["textile"])
    assert "textile" not in data_names(built)
    assert len(data_names(built)) == 9


def test_no_experience_ships_for_a_task_of_which_none_was_searched() -> None:
    with pytest.raises(ConfigError, match="No experience ships for regression; give runs of your own"):
        shipped_experience("regression")


def test_a_search_learns_from_a_run_and_keeps_what_it_learned(
    search_here: SearchHere, finished: SearchResult, pictures: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    result = search_here(
        budget=autoft.Budget(trials=3, epochs=1),
        learn_from=finished.folder,
        listener=lambda progress: said.append(progress.line),
    )
    assert f"learning from 1 earlier search with 4 trials on {pictures.name}" in said
    assert (
        "1 earlier search that it learns from may have been on these very data; `autoft experience build RUN... "
        f"--without {pictures.name}` leaves such out"
    ) in said
    store = Store.open(result.folder)
    kept = read_experience(store, result.search)
    assert kept is not None
    assert [search.name for search in kept.searches] == [past_search_of(finished.folder).name]
    assert kept.target == DataFacts(rows=36, classes=3, imbalance=1.0, input_size=40.0)
    reasons = [one.reason for one in result.record.decisions if one.action == "start" and (one.trial or "")[0] == "t"]
    assert reasons[0] == "the space's default recipe is tried first"
    # Where the default was the best of the earlier search, what is next in the portfolio is its second.
    assert re.match("number [12] of a portfolio from 1 earlier searches", reasons[1])
    assert replay(result.folder).difference is None
    lost = tmp_path / "lost"
    shutil.copytree(result.folder, lost)
    (lost / "experience.parquet").write_bytes(to_bytes(experience(1)))
    with pytest.raises(FormatError, match=r"is not the experience that the search began with \(its SHA-256 differs\)"):
        autoft.resume(lost, autoft.Budget(trials=4))
    (lost / "experience.parquet").unlink()
    with pytest.raises(FormatError, match=r"has lost experience\.parquet, which its search learns from"):
        read_experience(Store.open(lost), read_search(Store.open(lost), lost))
