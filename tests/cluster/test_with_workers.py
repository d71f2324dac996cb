"""with_workers.py: what it is called with, and on Ray's own autoscaler, whose machines are made-up."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray._private.services import get_node_ip_address

from autoft.engine.machine import scratch_folder
from tests.cluster.files import CLUSTER

COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
"""Of a machine; made-up ones run none."""
PROGRAM = CLUSTER / "with_workers.py"


@contextmanager
def autoscaled() -> Iterator[dict[str, str]]:
    """Have a head without cores, whose autoscaler makes up to 2 workers of 2 cores and removes those idle for 6 s."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{get_node_ip_address()}:{free.getsockname()[1]}"
    with scratch_folder("autoft-test-ray-") as folder:
        environment = {**os.environ, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        worker = {"resources": {"CPU": 2, "object_store_memory": 10**8}, "node_config": {}, "min_workers": 0}
        config = {
            "cluster_name": "made-up",
            "max_workers": 2,
            "idle_timeout_minutes": 0.1,
            "upscaling_speed": 2,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": address,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "available_node_types": {
                "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "cpu": {**worker, "max_workers": 2},
            },
            "head_node_type": "head",
            "auth": {},
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            **{f"{name}_commands": [] for name in COMMANDS},
        }
        file = folder / "cluster.yaml"
        file.write_text(json.dumps(config))
        options = [
            "--port",
            address.rpartition(":")[2],
            "--temp-dir",
            str(folder),
            "--num-cpus",
            "0",
            "--include-dashboard",
            "false",
        ]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
        command += ["--autoscaling-config", str(file)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as head:
            try:
                assert head.stdout is not None
                next(line for line in head.stdout if re.search(r"--address='", line))
                yield {**os.environ, "RAY_ADDRESS": address}
            finally:
                head.terminate()


def called(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)


@pytest.mark.parametrize("arguments", [(), ("--cpus", "2"), ("--", "autoft"), ("--cpus", "2", "--")])
def test_a_call_without_workers_or_command_says_what_is_missing(arguments: tuple[str, ...]) -> None:
    done = called(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith("error: give --cpus or --gpus, and a command after --\n")


@pytest.mark.ray
@pytest.mark.slow
def test_where_no_worker_comes_the_command_does_not_run() -> None:
    with autoscaled() as environment:
        done = called("--gpus", "1", "--minutes", "0.05", "--", "echo", "ran", environment=environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith("no worker came: ")
