"""A kill at any moment loses nothing: the installed command, with a Ray of its own, is ended in every way there is."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.record import Record, read_record
from tests.conftest import TINY_SPACE, write_pictures
from tests.s3 import Server

COMMAND = (sys.executable, "-c", "import sys; from autoft.cli import main; sys.exit(main())")
MEASURED = {"seconds", "latency_ms", "peak_memory_mb"}
GO_ON = "Go on with: autoft resume"
PATIENCE_SECONDS = 180


class Command:
    """An autoft command under way; what it says on stderr is read while it runs."""

    def __init__(self, *arguments: str | Path, **environment: str) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line.rstrip())
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, pattern: str) -> None:
        def said() -> bool:
            return not self._reader.is_alive() or any(re.search(pattern, line) for line in self.lines)

        with self._said:
            self._said.wait_for(said, PATIENCE_SECONDS)
        assert any(re.search(pattern, line) for line in self.lines), self.lines

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(10)
        return code

    def children(self, name: str) -> list[int]:
        """Return the processes below this one whose command line holds `name`."""
        below, found, todo = parents(), [], [self.process.pid]
        while todo:
            for child in below.get(todo.pop(), ()):
                todo.append(child)
                if name in command_line(child):
                    found.append(child)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def parents() -> dict[int, list[int]]:
    below: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        below.setdefault(parent, []).append(int(status.parent.name))
    return below


def command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    """Return what starts a command; all are ended in the end."""
    started: list[Command] = []

    def start(*arguments: str | Path, **environment: str) -> Command:
        started.append(Command(*arguments, **environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a search whose epochs are long enough to be hit, and whose decisions depend on every one of them."""
    folder = tmp_path_factory.mktemp("kill")
    write_pictures(folder / "data", per_class=60)
    (folder / "space.yaml").write_text(yaml.safe_dump({**TINY_SPACE, "batch_size": 2}))
    options = {"space": folder / "space.yaml", "trials": 4, "epochs": 4, "concurrent": 1, "seed": 3, "keep": 2}
    return ["search", str(folder / "data"), *(str(x) for k, v in options.items() for x in (f"--{k}", v))]


@pytest.fixture(scope="module")
def undisturbed(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = subprocess.run([*COMMAND, *arguments, "--out", str(run)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return run


def board(run: Path | str) -> list[Json]:
    line = [*COMMAND, "leaderboard", str(run), "--format", "json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    rows: list[Json] = json.loads(done.stdout)
    return rows


def comparable(rows: list[Json]) -> list[Json]:
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def epochs(rows: list[Json]) -> dict[str, int]:
    return {row["trial"]: row["epochs"] for row in rows}


def require_kept(before: list[Json], run: Path) -> Record:
    """Find that what was acknowledged is there, and no epoch is there twice."""
    now = epochs(board(run))
    assert {trial: min(count, now[trial]) for trial, count in epochs(before).items()} == epochs(before)
    record = read_record(Store.open(run))
    for row in record.trials:
        assert [result.epoch for result in row.epochs] == list(range(1, len(row.epochs) + 1))
    return record


def require_clean(run: Path, *commands: Command) -> None:
    """Find that nothing is left of the commands but the run folder, and nothing half-written in that."""
    for one in commands:
        assert list(Path("/tmp").glob(f"autoft-*-{one.process.pid}-*")) == []
    assert [path.name for path in run.rglob(".*") if path.name != ".lock"] == []


def resumed(command: Callable[..., Command], run: Path) -> Command:
    again = command("resume", run)
    assert again.end() == 0, again.lines
    return again


def test_a_killed_search_is_resumed_with_all_that_it_knew(
    command: Callable[..., Command], arguments: list[str], tmp_path: Path
) -> None:
    few = ["--set", "backbone.name=timm:test_resnet", "--trials", "1", "--epochs", "3"]
    killed = command(*arguments, *few, "--out", tmp_path / "run")
    killed.wait_for("t0001 epoch 1")
    killed.signal(signal.SIGKILL)
    assert killed.end() == -signal.SIGKILL
    before = board(tmp_path / "run")
    assert epochs(before)["t0001"] >= 1
    assert "running" not in {row["status"] for row in before}
    again = resumed(command, tmp_path / "run")
    record = require_kept(before, tmp_path / "run")
    assert {row.trial: row.status for row in record.trials} == {"p01": "probe", "t0001": "completed"}
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()
    require_clean(tmp_path / "run", killed, again)


def test_ctrl_c_twice_ends_a_search_cleanly_with_the_line_that_resumes_it(
    command: Callable[..., Command], arguments: list[str], tmp_path: Path
) -> None:
    search = command(*arguments, "--out", tmp_path / "run")
    search.wait_for("p01 starts")
    below = search.children("")
    assert below
    search.signal(signal.SIGINT)
    time.sleep(0.3)
    search.signal(signal.SIGINT)
    assert search.end() == 130
    assert search.lines[-1] == f"Interrupted; all that was reached is kept. {GO_ON} {tmp_path / 'run'}"
    assert not any("Traceback" in line for line in search.lines)
    deadline = time.monotonic() + 60
    while (left := [line for process in below if (line := command_line(process))]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    require_clean(tmp_path / "run", search)


MOMENTS = {
    "Ray starts": ("starting the workers", 1.0),
    "a probe runs": ("p01 starts", 2.0),
    "probes end": ("p02 epoch 1", 0.1),
    "an epoch runs": ("t0001 epoch 1", 0.2),
    "a checkpoint is written": ("t0001 epoch 2", 0.0),
    "a trial is decided on": ("t0002 epoch 2", 0.0),
    "the last trial runs": ("t0004 starts", 0.3),
    "the winner is tested": ("is the winner", 0.0),
    "the record is sealed": ("is tested", 0.02),
}


@pytest.mark.ray
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_search_killed_when(
    command: Callable[..., Command], arguments: list[str], undisturbed: Path, tmp_path: Path, moment: str
) -> None:
    pattern, seconds = MOMENTS[moment]
    killed = command(*arguments, "--out", tmp_path / "run")
    killed.wait_for(pattern)
    time.sleep(seconds)
    killed.signal(signal.SIGKILL)
    killed.end()
    before = board(tmp_path / "run")
    again = resumed(command, tmp_path / "run")
    record = require_kept(before, tmp_path / "run")
    assert comparable(board(tmp_path / "run")) == comparable(board(undisturbed))
    assert record.seconds_used > 0
    require_clean(tmp_path / "run", killed, again)


@pytest.mark.ray
def test_a_search_killed_again_and_again_comes_to_the_same_end(
    command: Callable[..., Command], arguments: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    line: list[Any] = [*arguments, "--out", tmp_path / "run"]
    before: list[Json] = []
    for pattern in ("p01 epoch 1", "t0001 epoch [23]", "t000[23] epoch 1", "t0004 epoch 1"):
        killed = command(*line)
        killed.wait_for(pattern)
        killed.signal(signal.SIGKILL)
        killed.end()
        require_kept(before, tmp_path / "run")
        before = board(tmp_path / "run")
        line = ["resume", tmp_path / "run"]
    resumed(command, tmp_path / "run")
    require_kept(before, tmp_path / "run")
    assert comparable(board(tmp_path / "run")) == comparable(board(undisturbed))


@pytest.mark.ray
@pytest.mark.parametrize(
    "asking",
    [
        ("Ray starts", signal.SIGINT),
        ("Ray starts", signal.SIGTERM),
        ("an epoch runs", signal.SIGINT),
        ("an epoch runs", signal.SIGTERM),
        ("an epoch runs", signal.SIGHUP),
        ("the winner is tested", signal.SIGINT),
    ],
)
def test_a_search_asked_to_end_when(
    command: Callable[..., Command],
    arguments: list[str],
    undisturbed: Path,
    tmp_path: Path,
    asking: tuple[str, signal.Signals],
) -> None:
    moment, number = asking
    pattern, seconds = MOMENTS[moment]
    asked = command(*arguments, "--out", tmp_path / "run")
    asked.wait_for(pattern)
    time.sleep(seconds)
    asked.signal(number)
    assert asked.end() == 130, asked.lines
    assert f"autoft resume {tmp_path / 'run'}" in asked.lines[-1]
    require_clean(tmp_path / "run", asked)
    before = board(tmp_path / "run")
    resumed(command, tmp_path / "run")
    require_kept(before, tmp_path / "run")
    assert comparable(board(tmp_path / "run")) == comparable(board(undisturbed))


@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_has_not_begun_leaves_nothing(
    command: Callable[..., Command], arguments: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    asked = command(*arguments, "--out", tmp_path / "run")
    asked.wait_for("reading the data")
    asked.signal(number)
    assert asked.end() == 130, asked.lines
    assert "nterrupted" in asked.lines[-1]
    require_clean(tmp_path, asked)


@pytest.mark.ray
@pytest.mark.parametrize("losses", [2, 3])
def test_the_trial_of_a_killed_worker_is_tried_twice_again_from_its_last_checkpoint(
    command: Callable[..., Command], arguments: list[str], undisturbed: Path, tmp_path: Path, losses: int
) -> None:
    search = command(*arguments, "--out", tmp_path / "run")
    search.wait_for("t0001 epoch 1")
    killed: set[int] = set()
    log = tmp_path / "run" / "logs" / "t0001.txt"
    while len(killed) < losses:
        for worker in set(search.children("ray::ResourceTrainable")) - killed:
            if f"process {worker}\n" in log.read_text():  # it has taken the trial up
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
        time.sleep(0.05)
    assert search.end() == 0, search.lines
    again = [line for line in search.lines if "it is tried again from its last checkpoint" in line]
    assert len(again) == 2
    if losses == 2:
        assert comparable(board(tmp_path / "run")) == comparable(board(undisturbed))
    else:
        row = read_record(Store.open(tmp_path / "run")).by_name["t0001"]
        assert row.status == "failed"
        assert row.reason.startswith("its worker was lost 3 times")
        assert len(row.epochs) >= 1
    require_kept([], tmp_path / "run")
    require_clean(tmp_path / "run", search)


@pytest.mark.ray
def test_a_killed_raylet_ends_the_search_with_a_sentence_and_a_resume_goes_on(
    command: Callable[..., Command], arguments: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    search = command(*arguments, "--out", tmp_path / "run")
    search.wait_for("t0001 epoch 2")
    (process,) = search.children("raylet/raylet")
    os.kill(process, signal.SIGKILL)
    assert search.end() == 1, search.lines
    assert search.lines[-1].endswith(f"all that was reached is kept. {GO_ON} {tmp_path / 'run'}")
    require_clean(tmp_path / "run", search)
    resumed(command, tmp_path / "run")
    assert comparable(board(tmp_path / "run")) == comparable(board(undisturbed))


@pytest.mark.ray
def test_workers_that_rays_memory_monitor_ends_are_lost_workers_and_not_the_end_of_the_world(
    command: Callable[..., Command], arguments: list[str], tmp_path: Path
) -> None:
    search = command(*arguments, "--out", tmp_path / "run", RAY_memory_usage_threshold="0.01")
    assert search.end() == 1, search.lines
    assert "All 6 trials failed; the commonest reason (6 of 6): its worker was lost 3 times" in search.lines[-1]
    assert "the machine ran low on memory" in search.lines[-1]
    assert search.process.stdout is not None
    assert search.process.stdout.read() == ""
    require_clean(tmp_path / "run", search)


@pytest.mark.ray
def test_a_running_search_can_be_read_at_any_moment(
    command: Callable[..., Command], arguments: list[str], tmp_path: Path
) -> None:
    search = command(*arguments, "--out", tmp_path / "run")
    search.wait_for("starting the workers")
    seen = [0]
    while search.process.poll() is None:
        seen.append(sum(epochs(board(tmp_path / "run")).values()))
        subprocess.run([*COMMAND, "log", str(tmp_path / "run")], capture_output=True, check=True)
    assert search.end() == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


@pytest.mark.ray
def test_a_killed_search_whose_run_is_on_s3_goes_on_from_storage_alone(
    command: Callable[..., Command], arguments: list[str], undisturbed: Path, tmp_path: Path, s3: Server
) -> None:
    run = s3.uri("run")
    pattern, seconds = MOMENTS["an epoch runs"]
    killed = command(*arguments, "--out", run, AUTOFT_CACHE=str(tmp_path / "one"))
    killed.wait_for(pattern)
    time.sleep(seconds)
    killed.signal(signal.SIGKILL)
    killed.end()
    before = epochs(board(run))
    assert before["t0001"] >= 1
    again = command("resume", run, AUTOFT_CACHE=str(tmp_path / "another"))
    assert again.end() == 0, again.lines
    after = board(run)
    assert {trial: min(count, epochs(after)[trial]) for trial, count in before.items()} == before
    assert comparable(after) == comparable(board(undisturbed))
