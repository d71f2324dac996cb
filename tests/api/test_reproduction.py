"""Every trial that a search ran, however it ran, gives the same digits in a process without Ray."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import autoft
from autoft.api import SearchResult
from autoft.core.errors import Interrupted
from autoft.core.progress import Progress
from tests.conftest import TINY_IMAGE_BACKBONE

pytestmark = pytest.mark.slow

SearchHere = Callable[..., SearchResult]

SPACE: dict[str, Any] = {
    "task": "image-classification",
    "backbone": TINY_IMAGE_BACKBONE,
    "finetune": {"mode": "full"},
    "optimizer": {
        "choice": [
            {"name": "adamw", "lr": {"log_uniform": [1e-4, 1e-2], "prior": 3e-3}},
            {"name": "sgd", "as": "still", "lr": 1e-12},
            {"name": "sgd", "as": "wild", "lr": 10.0, "weight_decay": 1.0},
        ]
    },
    "augmentation": {"choice": ["none", "flip"]},
    "accumulation": {"choice": [2, 1]},
    "averaging": {"choice": [{"name": "ema", "decay": 0.9}, "none"]},
    "patience": {"choice": [None, 1]},
    "schedule": {"name": "constant"},
    "clip_norm": None,
    "batch_size": 4,
}
NUM_TRIALS = 8


@pytest.fixture(scope="module")
def cut(search_here: SearchHere, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """Return a search of two trials side by side that Ctrl-C cut in the middle of the first two, resumed."""
    folder = tmp_path_factory.mktemp("cut")

    def interrupt(progress: Progress) -> None:
        if progress.line.startswith("t0001 epoch 2"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=f"autoft resume {folder}"):
        search_here(
            space=autoft.SearchSpace(**SPACE),
            budget=autoft.Budget(trials=NUM_TRIALS, epochs=4),
            resources=autoft.Resources(concurrent=2),
            searcher="random",
            scheduler="asha",
            listener=interrupt,
            out=folder,
            seed=1,
            keep=NUM_TRIALS + 1,
        )
    left = autoft.open_run(folder)
    assert left.record.by_name["t0001"].status == "paused"
    assert len(left.record.by_name["t0001"].epochs) == 2
    return autoft.resume(folder)


def recipes(result: SearchResult) -> dict[str, Any]:
    return {row.trial: result.trial(row.trial).configuration.recipe for row in result.record.trials}


def test_the_search_holds_every_way_in_which_a_trial_may_run_and_end(cut: SearchResult) -> None:
    rows = cut.record.by_name
    assert len(rows["t0001"].epochs) == 4
    assert {row.status for row in rows.values()} == {"probe", "completed", "pruned", "diverged"}
    assert any("No improvement" in row.reason for row in rows.values())
    trained = [recipe for trial, recipe in recipes(cut).items() if trial.startswith("t")]
    assert {recipe["averaging"]["name"] for recipe in trained} == {"ema", "none"}
    for name, values in {"accumulation": {1, 2}, "patience": {None, 1}}.items():
        assert {recipe[name] for recipe in trained} == values


@pytest.mark.parametrize("trial", ["p01", *(f"t{number:04d}" for number in range(1, NUM_TRIALS + 1))])
def test_a_trial_of_a_search_that_was_cut_is_reproduced_to_the_last_digit(
    cut: SearchResult, pictures: Path, trial: str
) -> None:
    again = autoft.reproduce(cut.folder, trial=trial, data=str(pictures))
    assert again.exact
    assert [row for row in again.rows if row["verdict"] != "equal"] == []
    assert again.matches


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT of 2 layers and 16 features with a tokenizer of its own."""
    import torch
    from transformers import BertConfig, BertModel

    from tests.backbones.conftest import TINY, VOCABULARY, write_tokenizer

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=32, **TINY)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def test_trials_on_text_are_reproduced_to_the_last_digit(search_here: SearchHere, texts: Path, bert: Path) -> None:
    space = autoft.SearchSpace(
        task="text-classification",
        backbone={"name": f"hf:{bert}", "max_length": 16, "pooling": {"choice": ["mean", "cls"]}},
        finetune={"mode": "full", "layer_decay": 0.8},
        averaging={"name": "ema", "decay": 0.9},
        batch_size=16,
    )
    result = search_here(
        data=str(texts), space=space, budget=autoft.Budget(trials=2, epochs=2), scheduler="none", keep=5
    )
    for trial in ("p01", "t0001", "t0002"):
        again = autoft.reproduce(result.folder, trial=trial, data=str(texts))
        assert again.exact
        assert [row for row in again.rows if row["verdict"] != "equal"] == []
        assert again.matches
