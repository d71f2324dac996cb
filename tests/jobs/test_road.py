"""A search submitted, watched, stopped, gone on with and brought home: the whole road, by the commands of a person."""

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoft.core.storage import Store
from tests.jobs.conftest import Head
from tests.s3 import Server

pytestmark = [pytest.mark.slow, pytest.mark.ray]


def until(found: Callable[[], Any], what: str, *, seconds: float = 300) -> Any:
    """Return what `found` gives once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {seconds:.0f} s")


def command_lines() -> list[str]:
    """Return the command lines of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return lines


def require_no_secret(head: Head, texts: dict[str, str]) -> None:
    for where, text in texts.items():
        assert head.token not in text, where
        assert head.secret not in text, where


def test_a_search_is_submitted_watched_stopped_resumed_and_brought_home(
    head: Head, storage: Server, pictures: Path, tiny_space: Path, tmp_path: Path
) -> None:
    run, at = storage.uri("runs/colours"), ("--address", head.url)
    home = tmp_path / "home"
    search = ["search", pictures, "--space", tiny_space, "--trials", "2", "--epochs", "60", "--out", run]

    job = head.done("submit", *at, "--", *search).strip()
    assert job.startswith("autoft-colours-")

    def status() -> Any:
        return json.loads(head.done("status", job, *at, "--format", "json"))

    def epochs() -> int:
        found = status()
        assert found["state"] in ("pending", "running"), found["message"]
        return int((found["search"] or {"epochs": 0})["epochs"])

    until(lambda: epochs() > 2, "epochs are recorded")

    # While it runs: a snapshot that reads whole, and no secret anywhere.
    head.done("fetch", job, *at, "--out", home)
    early = json.loads(head.done("leaderboard", home, "--format", "json"))
    assert {"p01", "p02"} & {row["trial"] for row in early}
    texts = {
        "processes": "\n".join(command_lines()),
        "jobs": _get(head, "/api/jobs/"),
        "log": head.done("logs", job, *at),
        "status": head.done("status", job, *at),
    }
    for path in (head.folder / "session_latest" / "runtime_resources").rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode(errors="replace")
    assert any("/autoft/__main__.py" in name for name in texts)
    require_no_secret(head, texts)

    detached = head.interrupted("logs", job, "-f", *at)
    assert detached.returncode == 130
    assert f"Detached; the job runs on. Watch it again with: autoft status {job} -f" in detached.stderr
    assert status()["state"] == "running"

    refused = head.autoft("submit", *at, "--", "resume", run)
    assert refused.returncode == 2
    assert f"The job {job} is searching in" in refused.stderr

    stopped = head.autoft("stop", job, *at, "--yes")
    assert stopped.returncode == 0, stopped.stderr
    line = f"autoft submit --address {head.url} -- resume '{run}'"
    assert "has ended: stopped." in stopped.stderr
    assert f"Go on with: {line}" in stopped.stderr
    # Its state was saved, and it was not killed.
    assert f"Interrupted; all that was reached is kept. Go on with: {line}" in head.done("logs", job, *at)
    again = head.autoft("stop", job, *at)
    assert again.returncode == 0
    assert "has ended already: stopped." in again.stderr
    left = json.loads(head.done("status", job, *at, "--format", "json"))["search"]
    assert left["running"] == 0
    assert "running" not in {row["status"] for row in left["leaderboard"]}

    resumed = head.autoft("submit", *at, "--follow", "--", "resume", run, "--trials", "3")
    assert resumed.returncode == 0, resumed.stderr
    assert "Bring it home: autoft fetch" in resumed.stderr
    assert "t0003" in resumed.stdout

    first = head.autoft("fetch", job, *at, "--out", home)
    assert first.returncode == 0, first.stderr
    second = head.autoft("fetch", run, "--out", home)
    assert second.returncode == 0, second.stderr
    assert " files, 0 of them new (0.0 MiB); every hash is right." in second.stderr
    there = json.loads(head.done("leaderboard", run, "--format", "json"))
    assert json.loads(head.done("leaderboard", home, "--format", "json")) == there
    assert {row["trial"] for row in there} == {"p01", "p02", "t0001", "t0002", "t0003"}
    assert "000.png,red," in head.done("predict", home / "best", pictures / "red" / "000.png")
    assert [info["job"] for info in json.loads(head.done("status", *at, "--format", "json"))][-1] == job

    store = Store.open(run)
    names = [*store.walk()]
    assert {"search.yaml", "best/config.yaml", "environment.json"} <= set(names)
    require_no_secret(head, {name: store.read(name).decode(errors="replace") for name in names})

    # At home it goes on without the cluster, and a fetch does not undo that.
    head.done("resume", home, "--trials", "4", "--address", "local")
    assert "t0004" in head.done("leaderboard", home)
    undone = head.autoft("fetch", run, "--out", home)
    assert undone.returncode == 2
    assert "has been searched in since it was fetched" in undone.stderr


def _get(head: Head, path: str) -> str:
    request = urllib.request.Request(f"{head.url}{path}", headers={"Authorization": f"Bearer {head.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())
