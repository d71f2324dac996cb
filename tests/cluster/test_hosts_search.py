"""A search on three hosts that share no disk, while hosts die, leave and join: equal to an undisturbed one."""

import contextlib
import csv
import hashlib
import json
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import fs

from autoft.core.jsonable import Json
from autoft.record import follow, read_events, read_record
from tests.cluster.files import command_lines
from tests.cluster.hosts import Host, until
from tests.cluster.hosts_ray import BUCKET, RAY_START, Cluster, Site
from tests.conftest import TINY_IMAGE_BACKBONE, TINY_SPACE, write_pictures

pytestmark = pytest.mark.cluster
CLOCK = ("seconds", "latency_ms", "peak_memory_mb")
"""Columns of the leaderboard that are measured, so free to differ between equal runs."""
SEARCH = (
    "--space",
    "space.yaml",
    "--trials",
    "6",
    "--epochs",
    "4",
    "--scheduler",
    "none",
    "--deterministic",
    "--seed",
    "3",
)
"""With no trial paused, most of the work is still to be done when the first one has ended an epoch."""
SEARCH_SECONDS = 180.0
"""More than any search here takes on two cores."""
HEADER = re.compile(r"^--- \S+ \S+ UTC, (\S+), process (\d+)$", re.M)
"""In a trial's log, when a worker takes it up: host and process."""
SEEN: set[str] = set()
"""Command lines of this machine, all hosts among it, while jobs ran."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Have a network with an S3 server, and a client whose disk no host sees."""
    with Site() as made:
        lay(made)
        yield made


def lay(site: Site) -> None:
    """Put what a search needs on the client's disk."""
    write_pictures(site.folder / "colours", per_class=90)
    backbone = TINY_IMAGE_BACKBONE | {"input_size": 96}
    space = TINY_SPACE | {"backbone": backbone, "batch_size": 2}
    (site.folder / "space.yaml").write_text(yaml.safe_dump(space, sort_keys=False))


@pytest.fixture(scope="module")
def first_cluster(site: Site) -> Iterator[Cluster]:
    cluster = Cluster(site)
    yield cluster
    cluster.end()


@pytest.fixture
def cluster(first_cluster: Cluster) -> Iterator[Cluster]:
    """Have Ray on three hosts, whatever became of those that former tests used, and no job after the test."""
    first_cluster.grow(2)
    yield first_cluster
    first_cluster.stop_jobs()


class Job:
    """A search that was submitted."""

    def __init__(self, cluster: Cluster, run: str, *line: str) -> None:
        self.cluster = cluster
        self.store = cluster.site.store(run)
        self.uri = f"s3://{BUCKET}/{run}"
        self.name = cluster.site.run("submit", "--address", cluster.url, "--", *line).strip()

    @property
    def state(self) -> str:
        """What Ray says of it."""
        return str(self.cluster.ask(f"/api/jobs/{self.name}")["status"])

    def end(self) -> None:
        """Wait until it has ended well."""

        def look() -> bool:
            SEEN.update(command_lines().splitlines())
            return self.state not in ("PENDING", "RUNNING")

        until(look, "the job ends", seconds=SEARCH_SECONDS)
        if self.state != "SUCCEEDED":
            pytest.fail(self.cluster.site.run("logs", self.name, "--address", self.cluster.url))

    def at_work(self) -> tuple[Host, str]:
        """Wait until a worker is in the middle of an epoch of a trial that has ended one; return both."""
        found: list[tuple[Host, str]] = []
        reader = follow(self.store)

        def look() -> bool:
            assert self.state in ("PENDING", "RUNNING"), "the job has ended already"
            if not self.store.exists("results"):
                return False
            running = {row.trial for row in reader.refresh().trials if row.status == "running" and row.epochs}
            for host in self.cluster.workers:
                if host.is_alive:
                    found.extend((host, trial) for trial in trials_on(host) if trial in running)
            return bool(found)

        until(look, "a worker trains", seconds=SEARCH_SECONDS)
        return found[0]

    def leaderboard(self) -> list[Json]:
        """Return the rows that the client sees, less what is measured."""
        rows: list[Json] = json.loads(self.cluster.site.run("leaderboard", self.uri, "--format", "json"))
        return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]

    def notes(self) -> str:
        """Return what the record notes, one a line."""
        return "\n".join(event["text"] for event in read_events(self.store) if event["event"] == "note")

    def epochs(self) -> list[tuple[str, int]]:
        """Return what the record counts, in its order."""
        events = [event for event in read_events(self.store) if event["event"] == "epoch"]
        return [(event["trial"], event["result"]["epoch"]) for event in events]

    def hosts_of(self, trial: str) -> list[str]:
        """Return the hosts that trained a trial, in the order in which they took it up."""
        return [host for host, _ in HEADER.findall(self.store.read(f"logs/{trial}.txt").decode())]


def trials_on(host: Host) -> set[str]:
    """Return the trials that a host's living workers have open."""
    found = set()
    for path in host.path("/tmp").glob("autoft-log-*/*.txt"):
        with contextlib.suppress(FileNotFoundError):  # it has just been closed
            _, process = HEADER.findall(path.read_text(errors="replace"))[-1]
            if host.path(f"/proc/{process}").exists():
                found.add(path.stem)
    return found


def submit(cluster: Cluster, run: str, *options: str) -> Job:
    return Job(cluster, run, "search", "colours", *SEARCH, *options, "--out", f"s3://{BUCKET}/{run}")


@pytest.fixture(scope="module")
def undisturbed(first_cluster: Cluster) -> Job:
    """Return a search that ran on three hosts, none of which was lost."""
    first_cluster.grow(2)
    job = submit(first_cluster, "undisturbed")
    job.end()
    return job


def test_hosts_that_share_no_disk_train_what_only_the_client_has(site: Site, undisturbed: Job) -> None:
    for host in undisturbed.cluster.hosts:
        for name in ("colours", "space.yaml"):
            assert host.call("test", "-e", str(site.folder / name)).returncode == 1
    rows = undisturbed.leaderboard()
    assert len(rows) == 7
    assert {row["status"] for row in rows} <= {"probe", "completed", "pruned"}
    used = {host for row in rows for host in undisturbed.hosts_of(row["trial"])}
    assert used == {host.name for host in undisturbed.cluster.hosts}
    assert set(Counter(undisturbed.epochs()).values()) == {1}


def test_weights_and_models_that_only_the_client_has_travel(cluster: Cluster, pretrained: dict[str, Any]) -> None:
    site = cluster.site
    weights, model = site.folder / "weights.safetensors", site.folder / "vit"
    shutil.copy(pretrained["weights"], weights)
    write_vit(model)
    space = yaml.safe_load((site.folder / "space.yaml").read_text())
    own = space["backbone"] | {"weights": weights.name, "input_size": 32}
    space["backbone"] = {"choice": [own, {"name": f"hf:{model.name}", "input_size": 32}]}
    (site.folder / "pretrained.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    options = ("--space", "pretrained.yaml", "--trials", "1", "--epochs", "1", "--out", f"s3://{BUCKET}/pretrained")
    job = Job(cluster, "pretrained", "search", "colours", *options)
    job.end()
    found = {row.trial: row.status for row in read_record(job.store).trials}
    assert found == {"p01": "probe", "p02": "probe", "t0001": "completed"}
    assert {row["backbone.name"] for row in job.leaderboard()} == {own["name"], "hf:vit"}
    for path in (weights, *model.iterdir()):
        content = path.read_bytes()
        assert job.store.read(f"weights/{hashlib.sha256(content).hexdigest()}{path.suffix}") == content


def write_vit(folder: Path) -> None:
    """Write a ViT of 2 layers for 32 px."""
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes), add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))


@pytest.mark.parametrize("end", ["kill", "vanish"])
def test_a_worker_host_that_dies_in_an_epoch_and_one_that_joins_change_nothing(
    cluster: Cluster, undisturbed: Job, end: str
) -> None:
    job = submit(cluster, end)
    lost, trial = job.at_work()
    getattr(lost, end)()
    joined = cluster.add()
    job.end()
    assert job.leaderboard() == undisturbed.leaderboard()
    assert job.epochs() == undisturbed.epochs()
    assert job.hosts_of(trial)[-1] != lost.name
    assert joined.name in {host for row in job.leaderboard() for host in job.hosts_of(row["trial"])}


def test_a_worker_host_that_is_told_to_go_loses_no_epoch(cluster: Cluster, undisturbed: Job) -> None:
    job = submit(cluster, "told")
    leaving, trial = job.at_work()
    leaving.send(signal.SIGTERM, min(number for number, line in leaving.processes().items() if RAY_START in line))
    until(lambda: not any(RAY_START in line for line in leaving.processes().values()), "Ray leaves the host")
    leaving.kill()
    job.end()
    assert " lost (" not in job.notes()
    assert leaving.name in job.hosts_of(trial)
    assert job.leaderboard() == undisturbed.leaderboard()
    assert job.epochs() == undisturbed.epochs()


def test_a_stopped_job_is_resumed_and_fetched(cluster: Cluster, undisturbed: Job, tmp_path: Path) -> None:
    site = cluster.site
    job = submit(cluster, "stopped")
    job.at_work()
    stopped = site.call("stop", job.name, "--yes", "--address", cluster.url)
    assert (stopped.returncode, job.state) == (0, "STOPPED"), stopped.stderr
    assert f"autoft submit --address {cluster.url} -- resume {job.uri}\n" in stopped.stderr
    assert len(job.epochs()) < len(undisturbed.epochs())
    resumed = Job(cluster, "stopped", "resume", job.uri)
    resumed.end()
    assert resumed.leaderboard() == undisturbed.leaderboard()
    assert resumed.epochs() == undisturbed.epochs()

    home = tmp_path / "home"
    site.run("fetch", resumed.name, "--address", cluster.url, "--out", home)
    before = num_downloads(site)
    site.run("fetch", resumed.name, "--address", cluster.url, "--out", home)
    assert num_downloads(site) == before
    picture = site.folder / "colours" / "red" / "000.png"
    (row,) = csv.DictReader(site.run("predict", home / "best", picture).splitlines())
    assert row["label"] == "red"


def test_token_and_secret_are_seen_nowhere(cluster: Cluster, undisturbed: Job, tmp_path: Path) -> None:
    site = cluster.site
    site.run("fetch", undisturbed.name, "--address", cluster.url, "--out", tmp_path / "home")
    texts = {"the command lines": "\n".join(SEEN).encode(), "the jobs": json.dumps(cluster.ask("/api/jobs/")).encode()}
    logs = site.run("logs", undisturbed.name, "--address", cluster.url)
    texts["the log"] = logs.encode()
    sessions = [path for host in cluster.hosts for path in host.path("/tmp/ray").glob("session_2*")]
    folders = [tmp_path / "home", *(session / "logs" for session in sessions)]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    texts |= {str(path): path.read_bytes() for path in files}
    selector = fs.FileSelector(undisturbed.store.path(), recursive=True)
    for info in undisturbed.store.filesystem.get_file_info(selector):
        if info.is_file:
            texts[info.path] = undisturbed.store.filesystem.open_input_file(info.path).read()
    assert any("gcs_server" in line for line in SEEN)
    assert len(texts) > 50
    for secret in (cluster.token, site.secret):
        assert [name for name, text in texts.items() if secret.encode() in text] == []


def test_with_the_head_lost_a_new_cluster_goes_on_from_storage_alone(cluster: Cluster, undisturbed: Job) -> None:
    job = submit(cluster, "headless")
    job.at_work()
    cluster.head.kill()
    cluster.end()
    known = job.epochs()
    other = Cluster(cluster.site)
    try:
        other.grow(2)
        resumed = Job(other, "headless", "resume", job.uri)
        resumed.end()
        assert resumed.epochs()[: len(known)] == known
        assert resumed.leaderboard() == undisturbed.leaderboard()
        assert resumed.epochs() == undisturbed.epochs()
    finally:
        other.end()


def num_downloads(site: Site) -> int:
    """Return how many objects the S3 server has handed out whole or in part."""
    return len(re.findall(rf'"GET /{BUCKET}/\S+ HTTP/1\.1" 20[06]', (site.bridge.folder / "s3.log").read_text()))
