"""Trials that two workers train, on a real Ray: each worker a process, which talk by gloo on loopback."""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import autoft
from autoft.api import SearchResult
from autoft.core.progress import Progress
from autoft.core.storage import Store
from autoft.engine.session import describe
from autoft.engine.spread import OTHERS_LOST, Board
from autoft.record.reader import read_events
from autoft.training.group import OthersLostError
from tests.conftest import TINY_SPACE

SearchHere = Callable[..., SearchResult]
TOGETHER = autoft.Resources(workers_per_trial=2, concurrent=1)
LAYER_NORMS = autoft.SearchSpace.from_json(
    {**TINY_SPACE, "backbone": {"name": "timm:test_vit", "weights": "none", "input_size": 160}}
)


def test_a_board_keeps_orders_in_turn_and_answers_as_they_come() -> None:
    async def talk() -> list[object]:
        board = Board()
        waiting = asyncio.create_task(board.order(1))
        await board.post("first")
        await board.post(None)
        await board.answer(1, "done")
        return [await board.order(0), await waiting, await board.answered(1.0), await board.answered(0.01)]

    assert asyncio.run(talk()) == ["first", None, (1, "done"), None]


def test_a_worker_that_fails_since_another_is_gone_is_known_by_its_reason() -> None:
    assert describe(OthersLostError("Connection closed by peer")).startswith(OTHERS_LOST)


@pytest.mark.slow
def test_a_search_whose_trials_have_two_workers_finds_what_one_with_one_finds(search_here: SearchHere) -> None:
    budget = autoft.Budget(trials=2, epochs=2)
    alone = search_here(space=LAYER_NORMS, budget=budget, searcher="random")
    together = search_here(space=LAYER_NORMS, budget=budget, searcher="random", resources=TOGETHER)
    assert [row.trial for row in together.record.trials] == ["p01", "t0001", "t0002"]
    for one, two in zip(alone.record.trials, together.record.trials, strict=True):
        assert two.config.execution["workers"] == (1 if two.kind == "probe" else 2)
        for first, second in zip(one.epochs, two.epochs, strict=True):
            for metric in ("train_loss", "val_loss", "val_accuracy"):
                assert second.metrics[metric] == pytest.approx(first.metrics[metric], rel=1e-4), (one.trial, metric)
    assert Path(together.folder, "logs", "t0001.1.txt").exists()
    again = autoft.reproduce(together.folder, trial="t0001", data=together.search.data.source)
    assert again.matches
    assert again.notes == ["It was trained by 2 workers together; here one trains the same batches."]


@pytest.mark.slow
def test_a_trial_that_loses_a_worker_goes_on_with_new_ones(search_here: SearchHere, tmp_path: Path) -> None:
    out, killed = tmp_path / "run", threading.Event()

    def kill(progress: Progress) -> None:
        log = out / "logs" / "t0001.1.txt"
        if not killed.is_set() and any(row["trial"] == "t0001" and row["epochs"] for row in progress.rows):
            os.kill(int(re.findall(r"process (\d+)", log.read_text())[-1]), signal.SIGKILL)
            killed.set()

    budget = autoft.Budget(trials=1, epochs=12)
    result = search_here(space=LAYER_NORMS, budget=budget, scheduler="none", resources=TOGETHER, out=out, listener=kill)
    assert killed.is_set()
    trial = result.record.by_name["t0001"]
    assert [epoch.epoch for epoch in trial.epochs] == list(range(1, 13))
    assert trial.config.execution["ran_out"] == {}
    processes = re.findall(r"process \d+", (out / "logs" / "t0001.1.txt").read_text())
    assert len(set(processes)) == 2
    notes = " ".join(event["text"] for event in read_events(Store.open(out)) if event["event"] == "note")
    assert "The worker of t0001 was lost (one of the trial's workers was lost); it is tried again" in notes
