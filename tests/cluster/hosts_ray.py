"""Ray on hosts that share no disk, an S3 server beside them, and a client that is no part of the cluster."""

import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from pyarrow import fs

from autoft.core.storage import Store
from tests.cluster.files import EXECUTABLES, ROOT
from tests.cluster.hosts import Bridge, Host, until

RAY_PORT, DASHBOARD_PORT, S3_PORT = 6379, 8265, 9000
RAY_START = "ray.scripts.scripts"
"""In the command line of the process that a host's Ray is started, and told to go, by."""
BUCKET = "runs"
OBJECT_STORE_BYTES = 100 << 20
SHARED = {
    "PATH": f"{EXECUTABLES}:{os.environ['PATH']}",
    "LANG": "C.UTF-8",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
"""The environment of every process; hosts have what autoft needs, and not autoft."""

LOOKS = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}
"""For the head. By arithmetic: who hangs up is lost after 5 s, who is silent after 20; else 15 and 65 (65 measured)."""


class Site:
    """A bridge with an S3 server on it, and a client on this machine that reaches both; a context manager."""

    def __init__(self) -> None:
        self.bridge = Bridge(hides=[ROOT / "autoft"])  # it travels with each job
        self.secret = secrets.token_hex(20)
        """With which the S3 server is asked."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.bridge)
            self.folder = self.bridge.folder / "client"
            """The client's files, which no host sees."""
            (self.folder / "home").mkdir(parents=True)
            self.bridge.serve(
                sys.executable,
                *("-W", "ignore", "-m", "moto.server", "-H", self.bridge.address, "-p", str(S3_PORT)),
                environment={**SHARED, "HOME": str(self.folder / "home")},
                log="s3.log",
            )
            until(self._answers, "the S3 server answers")
            self._filesystem(allow_bucket_creation=True).create_dir(BUCKET)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def storage_environment(self) -> dict[str, str]:
        """What a process must know to use the S3 server."""
        return {
            "AWS_ACCESS_KEY_ID": "autoft",
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": f"http://{self.bridge.address}:{S3_PORT}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def store(self, run: str) -> Store:
        """Return the folder of a run in the bucket."""
        return Store(self._filesystem(), f"{BUCKET}/{run}", False)

    def call(self, *arguments: str | Path, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Return how `autoft` with these arguments ended on the client's machine."""
        return subprocess.run(
            [str(EXECUTABLES / "autoft"), *map(str, arguments)],
            cwd=self.folder,
            env=self.client_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def run(self, *arguments: str | Path, seconds: float = 300) -> str:
        """Return what `autoft` with these arguments writes to stdout on the client's machine.

        Raises:
            AssertionError: If it fails.
        """
        done = self.call(*arguments, seconds=seconds)
        assert done.returncode == 0, f"autoft {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of the client's commands."""
        home = self.folder / "home"
        return {
            **SHARED,
            **self.storage_environment,
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "AUTOFT_CACHE": str(home / "cache"),
            "RAY_AUTH_MODE": "token",
        }

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.bridge.address}:{S3_PORT}/", timeout=5).close()
        except OSError:
            return False
        return True

    def _filesystem(self, **options: Any) -> fs.S3FileSystem:
        return fs.S3FileSystem(
            access_key="autoft",
            secret_key=self.secret,
            endpoint_override=f"{self.bridge.address}:{S3_PORT}",
            scheme="http",
            region="us-east-1",
            **options,
        )


class Cluster:
    """Ray on new hosts of a site: a head and workers, each with one core."""

    def __init__(self, site: Site, *, environment: Mapping[str, str] | None = None) -> None:
        self.site = site
        self.token = secrets.token_hex(32)
        """What Ray asks everyone for; the client has it from now on."""
        self.workers: list[Host] = []
        self._environment = dict(environment or {})
        keep_token(site.folder / "home", self.token)
        self.head = self._launch("--head", f"--port={RAY_PORT}", f"--dashboard-port={DASHBOARD_PORT}")
        until(self._answers, "the head's dashboard answers", seconds=90)

    @property
    def url(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.head.address}:{DASHBOARD_PORT}"

    @property
    def hosts(self) -> list[Host]:
        """The living hosts of the cluster."""
        return [host for host in (self.head, *self.workers) if host.is_alive]

    def grow(self, count: int) -> None:
        """Have `count` living workers, and wait until Ray knows them."""
        lacking = count - sum(worker.is_alive for worker in self.workers)
        for _ in range(lacking):
            self.add()
        until(lambda: {host.address for host in self.hosts} <= self.known(), "all hosts join", seconds=120)

    def add(self) -> Host:
        """Let a new host join; return at once."""
        worker = self._launch(f"--address={self.head.address}:{RAY_PORT}")
        self.workers.append(worker)
        return worker

    def end(self) -> None:
        """End all hosts."""
        for host in (self.head, *self.workers):
            host.kill()

    def known(self) -> set[str]:
        """Return the addresses of the nodes that Ray holds for alive."""
        rows = self.ask("/api/v0/nodes")["data"]["result"]["result"]
        return {row["node_ip"] for row in rows if row["state"] == "ALIVE"}

    def stop_jobs(self) -> None:
        """Let no job run on, where the head still lives."""
        if self.head.is_alive:
            for job in self.ask("/api/jobs/"):
                if job["status"] in ("PENDING", "RUNNING"):
                    self.ask(f"/api/jobs/{job['submission_id']}/stop", method="POST")

    def ask(self, path: str, *, method: str = "GET") -> Any:
        """Return what the head's dashboard answers, which is JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def _launch(self, *options: str) -> Host:
        host = self.site.bridge.add({})
        home = Path("/tmp/home")
        keep_token(host.path(home), self.token)
        host.environment = {
            **SHARED,
            **self.site.storage_environment,
            "HOME": str(home),
            "RAY_AUTH_MODE": "token",
            **LOOKS,
            **self._environment,
        }
        host.launch(
            *(sys.executable, "-m", RAY_START, "start", "--block", *options),
            *(f"--node-ip-address={host.address}", f"--dashboard-host={host.address}"),
            *("--num-cpus=1", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}", f"--memory={2 << 30}"),
            *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
            log="ray.log",
        )
        return host

    def _answers(self) -> bool:
        assert self.head.is_alive, self.head.log("ray.log")
        try:
            return self.head.address in self.known()
        except (OSError, KeyError, TypeError):
            return False


def keep_token(home: Path, token: str) -> None:
    """Put Ray's token where Ray looks for it, readable by its user alone."""
    folder = home / ".ray"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "auth_token").unlink(missing_ok=True)
    (folder / "auth_token").touch(0o600)
    (folder / "auth_token").write_text(token)
