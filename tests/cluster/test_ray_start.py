"""What the files of cluster/ give to `ray start`: options that Ray has, with values that it takes."""

import inspect
import re
import shlex

import pytest
from ray._private.parameter import RayParams
from ray.scripts.scripts import start

from tests.cluster.files import CLOUDS, CLUSTER, documents


def calls() -> dict[str, list[str]]:
    """Return the arguments of each `ray start`, by where it is; what a shell would fill in is filled in."""
    found = {}
    for cloud in CLOUDS:
        for name in ("head_start_ray_commands", "worker_start_ray_commands"):
            line = documents(f"{cloud}.yaml")[0][name][-1].partition("ray start ")[2]
            found[f"{cloud} {name}"] = shlex.split(line.replace("$RAY_HEAD_IP", "10.0.0.1"))
    for name, spec in (
        ("raycluster", documents("kubernetes/raycluster.yaml")[0]["spec"]),
        ("rayjob", documents("kubernetes/rayjob.yaml")[0]["spec"]["rayClusterSpec"]),
    ):
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            given = {"head": "true", **group["rayStartParams"]} if "groupName" not in group else group["rayStartParams"]
            flags = [f"--{key}" if value == "true" else f"--{key}={value}" for key, value in given.items()]
            found[f"{name} {group.get('groupName', 'head')}"] = flags
    for number, line in enumerate(re.findall(r"^ray start (.+)$", (CLUSTER / "README.md").read_text(), re.M)):
        found[f"readme {number}"] = shlex.split(line)
    script = (CLUSTER / "slurm.sh").read_text().replace("\\\n", " ")
    (common,) = re.findall(r'ray start "\$@" (.+) &$', script, re.M)
    common = re.sub(r'"\$\{?SLURM\w+(:-\d+)?\}?"', "1", common)
    for number, line in enumerate(re.findall(r"^ *ray_on .*? (--.+)$", script, re.M)):
        found[f"slurm {number}"] = shlex.split(
            re.sub(r'"\$ip:\$port"', "10.0.0.1:6379", line).replace("$port", "6379").replace("$own", "/tmp/own")
        )
        found[f"slurm {number}"] += shlex.split(common)
    return found


CALLS = calls()


def test_every_start_is_among_them() -> None:
    assert len(CALLS) == 2 * len(CLOUDS) + 2 * 3 + 2 + 2


@pytest.mark.parametrize("call", CALLS)
def test_ray_takes_the_options_and_their_values(call: str) -> None:
    given = start.make_context("ray start", list(CALLS[call])).params
    known = inspect.signature(RayParams).parameters
    texts = ("resources", "labels")  # JSON, which `ray start` reads itself
    RayParams(**{name: value for name, value in given.items() if name in known and name not in texts})
