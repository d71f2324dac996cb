"""The shell scripts and the Dockerfile, by bash, shellcheck and hadolint."""

import fnmatch
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cluster.files import CLUSTER, EXECUTABLES, ROOT

SCRIPTS = ("node.sh", "slurm.sh")
DOCKERFILE = (CLUSTER / "Dockerfile").read_text()


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)


def test_every_script_is_checked() -> None:
    assert sorted(path.name for path in CLUSTER.rglob("*.sh")) == sorted(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_and_shellcheck_find_nothing(script: str) -> None:
    for command in (("bash", "-n"), (EXECUTABLES / "shellcheck", "--severity=style")):
        done = run(*command, CLUSTER / script)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_without_its_arguments_says_them(script: str) -> None:
    assert os.access(CLUSTER / script, os.X_OK)
    done = run("bash", CLUSTER / script)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")


@pytest.mark.parametrize(
    "arguments", ["mounts", "mount", "mount ''", "mount a b", "add", "keep", "install now", "told x"]
)
def test_a_line_that_node_sh_does_not_take_ends_with_the_lines_that_it_does(arguments: str) -> None:
    done = run("bash", CLUSTER / "node.sh", *shlex.split(arguments))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("usage: node.sh install|add PACKAGE...|share|mount HEAD_IP|")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("add boto3", "There is no ~/uv to add boto3 with; 'node.sh install' makes it."),
        ("install", "There must be one autoft-*.whl in {home}/autoft/dist; cluster/README.md says how to make it."),
    ],
)
def test_what_node_sh_lacks_on_the_machine_is_said_in_one_sentence(
    arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run("bash", CLUSTER / "node.sh", *shlex.split(arguments))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said.format(home=tmp_path) + "\n")


def slurm_job(folder: Path, **commands: str) -> subprocess.CompletedProcess[str]:
    """Return how slurm.sh ended in a job whose commands are these scripts; Ray's head ends at once."""
    stand_ins = {"ray": "", "autoft": "", "scontrol": "echo node1", "srun": f'echo "$*" >> {folder}/srun'} | commands
    (folder / "bin").mkdir()
    for name, script in stand_ins.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node1",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_CPUS_PER_TASK": "1",
    }
    return subprocess.run(
        ["bash", CLUSTER / "slurm.sh", "search", "data", "--out", "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_slurm_node_whose_name_has_no_address_gets_its_own(tmp_path: Path) -> None:
    done = slurm_job(tmp_path, getent="exit 2", hostname="echo 127.0.0.9 127.0.0.8")
    assert (done.returncode, done.stderr) == (1, "Ray's head did not start on node1; its output is above.\n")
    head, removal = (tmp_path / "srun").read_text().splitlines()
    assert "ray start --head --node-ip-address=127.0.0.9 --port=20007 " in head
    assert removal.endswith("rm -rf /tmp/autoft-job-7")
    assert not list(tmp_path.glob(".autoft-*"))


def test_a_slurm_job_that_ends_before_ray_starts_leaves_no_token(tmp_path: Path) -> None:
    done = slurm_job(tmp_path, scontrol="exit 1")
    assert done.returncode != 0
    assert not (tmp_path / "srun").exists()
    assert not list(tmp_path.glob(".autoft-*"))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run(EXECUTABLES / "hadolint", CLUSTER / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_the_user_of_the_pods() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.M) == ["1000"]
    assert "--uid 1000 autoft" in DOCKERFILE


def test_the_image_is_built_from_files_that_are_there_and_are_let_in() -> None:
    ignore = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in line.split()}
    assert copied == let_in
    for name in copied:
        assert (ROOT / name).exists(), name
        assert not any(fnmatch.fnmatch(name, line) for line in ignore[1:] if not line.startswith("!")), name


def test_the_image_has_the_python_that_ci_tests_with() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.M)
    (script,) = re.findall(r"--python (3\.\d+) ", (CLUSTER / "node.sh").read_text())
    assert version == script
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text()
