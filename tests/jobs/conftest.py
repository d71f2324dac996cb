"""A Ray cluster of one node with a job server of loopback that asks for a token, and an S3 server beside it."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoft.engine.machine import scratch_folder
from tests.s3 import Server

ROOT = Path(__file__).parents[2]
OBJECT_STORE_BYTES = 100 << 20


@dataclass(frozen=True)
class Head:
    """A running head."""

    url: str
    token: str
    token_file: Path
    folder: Path
    """Ray's own logs and sockets."""
    secret: str
    """With which the S3 server is asked."""
    environment: Mapping[str, str]
    """Of the person's commands: with the storage's keys, without the token."""

    def autoft(
        self, *arguments: str | Path, seconds: float = 240, token: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Return how `autoft` ended in a process of its own, as a person has it."""
        extra = {"RAY_AUTH_TOKEN_PATH": str(self.token_file)} if token else {}
        return subprocess.run(
            [sys.executable, "-m", "autoft", *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **extra},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def interrupted(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Return how `autoft` ended that was interrupted by Ctrl-C once it had written a line."""
        command = [sys.executable, "-m", "autoft", *map(str, arguments)]
        environment = {**self.environment, "RAY_AUTH_TOKEN_PATH": str(self.token_file)}
        with subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def done(self, *arguments: str | Path) -> str:
        """Return what `autoft` wrote to stdout; it must end well."""
        found = self.autoft(*arguments)
        assert found.returncode == 0, f"{arguments}: {found.stdout}{found.stderr}"
        return found.stdout


@pytest.fixture(scope="package")
def head(s3_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Start a head with two places for trials, in a folder that has no autoft; end it by its own process."""
    base = tmp_path_factory.mktemp("jobs")
    token, secret = secrets.token_hex(32), secrets.token_hex(20)
    token_file = base / "token"
    token_file.write_text(f"{token}\n")
    gcs, dashboard = _free_port(), _free_port()
    shared = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "AWS_ACCESS_KEY_ID": "autoft",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    cluster = {
        **shared,
        "HOME": str(base / "cluster"),
        "AUTOFT_CACHE": str(base / "cluster" / "cache"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }
    person = {
        **shared,
        "HOME": str(base / "person"),
        "AUTOFT_CACHE": str(base / "person" / "cache"),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(base / "person" / "tmp"),
    }
    for folder in ("cluster", "person/tmp"):
        (base / folder).mkdir(parents=True)
    with scratch_folder("autoft-jobs-") as folder:
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
        ]
        command += [
            f"--port={gcs}",
            f"--dashboard-port={dashboard}",
            "--dashboard-host=127.0.0.1",
            f"--temp-dir={folder}",
        ]
        command += ["--num-cpus=2", f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"]
        command += [f"--dashboard-agent-listen-port={_free_port()}", f"--ray-client-server-port={_free_port()}"]
        with (
            (base / "head.log").open("w") as log,
            subprocess.Popen(
                command, cwd=base / "cluster", env=cluster, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                url = f"http://127.0.0.1:{dashboard}"
                _await(url, token, process)
                yield Head(url, token, token_file, folder, secret, person)
            finally:
                process.terminate()
                process.wait(timeout=60)


@pytest.fixture
def storage(head: Head, s3: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the S3 server, which this process asks with the keys of the cluster and the person."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "autoft")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", head.secret)
    return s3


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _await(url: str, token: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the job server takes jobs."""
    request = urllib.request.Request(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"})
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                json.load(answer)
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the job server does not answer")
