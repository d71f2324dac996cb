"""slurm.sh in a real Slurm of this machine: its own munge, controller and node, in a folder of their own."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autoft.engine.machine import scratch_folder
from tests.cluster.files import CLUSTER, EXECUTABLES, command_lines
from tests.conftest import write_pictures

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
LACKING = [name for name in COMMANDS if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.skipif(bool(LACKING), reason=f"no {', '.join(LACKING)} here: Debian's slurm-wlm and munge have them"),
]
CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus}
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Have a Slurm of one node; the environment in which its commands find it."""
    host = socket.gethostname().partition(".")[0]
    with scratch_folder("autoft-slurm-") as folder, ExitStack() as stack:
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(64))
        config = CONFIG.format(host=host, folder=folder, ports=free_ports(2), cpus=os.cpu_count())
        (folder / "slurm.conf").write_text(config)
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        environment["PATH"] = f"{EXECUTABLES}:{environment['PATH']}"
        log = stack.enter_context((folder / "daemons.log").open("w"))
        munge = [f"--{what}-file={folder}/munge.{what}" for what in ("key", "pid", "log", "seed")]
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D"],
        ):
            process = stack.enter_context(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            stack.callback(process.terminate)
        end = time.monotonic() + 60
        while "idle" not in slurm_says(["sinfo", "--noheader", "--format=%T"], environment):
            assert time.monotonic() < end, (folder / "daemons.log").read_text()
            time.sleep(0.5)
        yield environment


def slurm_says(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def submit(slurm: dict[str, str], tmp_path: Path, tiny_space: Path) -> Callable[..., tuple[str, Path]]:
    """Return what submits slurm.sh in a checkout, and gives the job's number and its log."""
    (tmp_path / "cluster").symlink_to(CLUSTER)
    write_pictures(tmp_path / "colours", per_class=20)
    shutil.copy(tiny_space, tmp_path / "tiny.yaml")

    def submitted(*arguments: str) -> tuple[str, Path]:
        options = ["--parsable", "--nodes=1", f"--cpus-per-task={os.cpu_count()}", "--time=10"]
        done = subprocess.run(
            ["sbatch", *options, "cluster/slurm.sh", *arguments],
            env=slurm,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        job = done.stdout.strip()
        return job, tmp_path / f"autoft-{job}.log"

    return submitted


def ended(job: str, environment: dict[str, str], *, seconds: float = 240) -> str:
    """Return how a job ended, once it has: its state and exit code."""
    end = time.monotonic() + seconds
    while True:
        shown = slurm_says(["scontrol", "show", "job", job], environment)
        state = re.findall(r"JobState=(\w+)|ExitCode=(\d+)", shown)
        words = " ".join(first or second for first, second in state)
        if words.split()[0] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            return words
        assert time.monotonic() < end, shown
        time.sleep(0.5)


def test_a_job_that_is_told_to_end_is_resumed_by_another(
    slurm: dict[str, str], submit: Callable[..., tuple[str, Path]], tmp_path: Path
) -> None:
    job, log = submit("search", "colours", "--space", "tiny.yaml", "--trials", "30", "--epochs", "4", "--out", "run")
    end = time.monotonic() + 240
    checkpoints = tmp_path / "run" / "checkpoints"
    while not (checkpoints.is_dir() and any(checkpoints.iterdir())):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.2)

    (token_file,) = tmp_path.glob(f".autoft-{job}-*/token")
    token = token_file.read_text()
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert token_file.parent.stat().st_mode & 0o777 == 0o700
    assert token not in command_lines()

    subprocess.run(["scancel", "--signal=TERM", "--batch", job], env=slurm, check=True)
    assert ended(job, slurm) == "FAILED 130"
    text = log.read_text()
    assert "autoft resume run" in text
    assert token not in text
    assert not list(tmp_path.glob(".autoft-*"))
    assert not Path(f"/tmp/autoft-job-{job}").exists()
    assert f"/tmp/autoft-job-{job}" not in command_lines()

    job, log = submit("resume", "run", "--trials", "31", "--time", "20m")
    assert ended(job, slurm) == "COMPLETED 0", log.read_text()
    assert (tmp_path / "run" / "best" / "config.yaml").exists()


def test_a_mistake_on_the_line_ends_the_job_with_its_sentence(
    slurm: dict[str, str], submit: Callable[..., tuple[str, Path]], tmp_path: Path
) -> None:
    job, log = submit("search", "nowhere", "--out", "run")
    assert ended(job, slurm) == "FAILED 2"
    assert "nowhere" in log.read_text()
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".autoft-*"))
