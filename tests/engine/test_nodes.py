"""Nodes that join, are killed and are taken back while a search runs, as several raylets of this machine."""

import dataclasses
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autoft.core.configs import SearchConfig
from autoft.core.storage import Store
from autoft.engine.coordinator import NO_PLACE
from autoft.engine.replay import replay
from autoft.record import Record, read_record
from autoft.record.reader import read_events
from tests.engine.raylets import descendants, kill, nodes, record_when, searching

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def leaderboard(folder: Path) -> list[tuple[object, ...]]:
    """Return what a search found, less what was measured on a clock."""
    record = read_record(Store.open(folder))
    return [
        (row.trial, row.status, row.assignment, [(e.epoch, e.metrics["val_accuracy"], e.status) for e in row.epochs])
        for row in record.trials
    ]


def decisions(folder: Path) -> list[tuple[object, ...]]:
    record = read_record(Store.open(folder))
    return [(d.action, d.trial, d.until_epoch, d.reason, d.logical) for d in record.decisions]


def epochs_run(folder: Path, trial: str) -> list[int]:
    """Return the epochs that a trial's log says were begun, over all of its workers."""
    return [int(number) for number in re.findall(r"^epoch (\d+) of", (folder / f"logs/{trial}.txt").read_text(), re.M)]


def trained_on(record: Record, node: subprocess.Popen[str]) -> str | None:
    """Return a trial, half done, whose worker is on a node."""
    there = set(descendants(node.pid))
    for row in record.trials:
        if row.status == "running" and 0 < len(row.epochs) < 4 and row.epochs[-1].metrics["process"] in there:
            return row.trial
    return None


def test_a_search_waits_for_its_first_node_and_uses_each_that_joins(
    make_search: Callable[..., SearchConfig], tmp_path: Path
) -> None:
    search = make_search(trials=6, epochs=4)
    with nodes() as cluster:
        search = dataclasses.replace(search, address=cluster.address)
        scripts: dict[str, object] = {f"t{number:04d}": {"seconds": 2.0} for number in range(1, 7)}
        with searching(search, tmp_path, scripts) as driver:
            record_when(driver, tmp_path, lambda record: NO_PLACE in (tmp_path / "said.txt").read_text())
            cluster.join()
            record_when(driver, tmp_path, lambda record: any(row.epochs for row in record.trials))
            cluster.join()
            joined = time.monotonic()
            record_when(driver, tmp_path, lambda record: sum(row.status == "running" for row in record.trials) == 2)
            assert time.monotonic() - joined < 10
            assert driver.wait(120) == 0, (tmp_path / "said.txt").read_text()[-3000:]
    events = [event for event in read_events(Store.open(tmp_path)) if event["event"] == "places"]
    assert [(event["slots"], event["workers"]) for event in events] == [(1, 1), (2, 2)]
    assert replay(search, Store.open(tmp_path)).difference is None


def test_a_node_killed_in_the_middle_of_an_epoch_changes_nothing_that_is_found(
    make_search: Callable[..., SearchConfig], tmp_path: Path
) -> None:
    search = make_search(trials=4, epochs=4, scheduler="asha-promote", concurrent=2, deterministic=True)
    heights = {f"t{number:04d}": height for number, height in enumerate([0.5, 0.9, 0.4, 0.7], 1)}

    def scripts(seconds: float) -> dict[str, object]:
        return {trial: {"curve": [height] * 4, "seconds": seconds} for trial, height in heights.items()}

    with nodes() as cluster:
        search = dataclasses.replace(search, address=cluster.address)
        first, second = cluster.join(), cluster.join()
        disturbed = tmp_path / "disturbed"
        with searching(search, disturbed, scripts(3.0)) as driver:
            record = record_when(driver, disturbed, lambda record: trained_on(record, second))
            lost = trained_on(record, second)
            time.sleep(1.0)
            kill(second)
            assert driver.wait(240) == 0, (disturbed / "said.txt").read_text()[-3000:]
        assert first.poll() is None
        undisturbed = tmp_path / "undisturbed"
        with searching(search, undisturbed, scripts(0.0)) as driver:
            assert driver.wait(120) == 0
    assert leaderboard(disturbed) == leaderboard(undisturbed)
    assert decisions(disturbed) == decisions(undisturbed)
    notes = read_record(Store.open(disturbed)).notes
    assert any(note.startswith(f"The node of {lost} was lost (") for note in notes)


def test_no_epoch_is_lost_on_a_node_that_is_taken_back_with_notice(
    make_search: Callable[..., SearchConfig], tmp_path: Path
) -> None:
    search = make_search(trials=4, epochs=4)
    with nodes() as cluster:
        search = dataclasses.replace(search, address=cluster.address)
        cluster.join()
        second = cluster.join()
        scripts: dict[str, object] = {f"t{number:04d}": {"seconds": 3.0} for number in range(1, 5)}
        with searching(search, tmp_path, scripts) as driver:
            record = record_when(driver, tmp_path, lambda record: trained_on(record, second))
            moved = trained_on(record, second)
            time.sleep(1.0)
            second.send_signal(signal.SIGTERM)
            assert second.wait(25) == 1  # before the 30 s that Ray gives it are over
            assert driver.wait(240) == 0, (tmp_path / "said.txt").read_text()[-3000:]
    record = read_record(Store.open(tmp_path))
    assert [row.status for row in record.trials] == ["probe", *["completed"] * 4]
    for row in record.trials[1:]:
        assert epochs_run(tmp_path, row.trial) == [1, 2, 3, 4]
    assert moved is not None
    opened = [result.metrics["opened_at"] for result in record.by_name[moved].epochs]
    assert len({result.metrics["process"] for result in record.by_name[moved].epochs}) == 2
    assert max(opened) >= 1
    assert [note for note in record.notes if "was lost" in note] == []
    assert sum(note.startswith(f"The node of {moved} is about to go") for note in record.notes) == 1


def test_trials_share_a_gpu_once_their_like_were_measured(
    make_search: Callable[..., SearchConfig], tmp_path: Path
) -> None:
    """The GPU is Ray's word alone, and the measurements are planted: what is shown is who is placed where."""
    search = make_search(trials=7, epochs=2)
    with nodes() as cluster:
        resources = dataclasses.replace(search.resources, gpus_per_trial="auto")
        search = dataclasses.replace(search, address=cluster.address, resources=resources)
        cluster.join("--num-cpus=8", "--num-gpus=1")
        planted = {"peak_memory_mb": 9000.0, "device_memory_mb": 40_000.0, "seconds": 1.5}
        scripts: dict[str, object] = {f"t{number:04d}": planted for number in range(1, 8)}
        with searching(search, tmp_path, scripts) as driver:
            assert driver.wait(240) == 0, (tmp_path / "said.txt").read_text()[-3000:]
    record = read_record(Store.open(tmp_path))
    shares = [[result.metrics["gpu_share"] for result in row.epochs] for row in record.trials if row.kind == "trial"]
    assert shares == [[1.0] * 2, *[[0.3333] * 2] * 6]
    places = [event["workers"] for event in read_events(Store.open(tmp_path)) if event["event"] == "places"]
    assert max(places) == 3


def test_a_search_whose_cluster_is_lost_with_its_head_goes_on_on_another_from_its_run_folder(
    make_search: Callable[..., SearchConfig], tmp_path: Path
) -> None:
    search = make_search(trials=6, epochs=4)
    scripts: dict[str, object] = {f"t{number:04d}": {"seconds": 0.1} for number in range(1, 7)}
    with nodes() as cluster:
        cluster.join()
        endless = {"t0002": {"seconds": 600.0}}
        with searching(dataclasses.replace(search, address=cluster.address), tmp_path, endless) as driver:
            record_when(driver, tmp_path, lambda record: "t0002" in record.by_name)
            kill(cluster.head)
            assert driver.wait(120) == 1
        assert "The head of the Ray cluster has not answered for 20 s" in (tmp_path / "said.txt").read_text()
    with nodes() as another:
        another.join()
        with searching(dataclasses.replace(search, address=another.address), tmp_path, scripts) as driver:
            assert driver.wait(120) == 0, (tmp_path / "said.txt").read_text()[-3000:]
    record = read_record(Store.open(tmp_path))
    assert len(record.searches) == 2
    assert [row.status for row in record.trials] == ["probe", *["completed"] * 6]
    for row in record.trials[1:]:
        assert [result.epoch for result in row.epochs] == [1, 2, 3, 4]
