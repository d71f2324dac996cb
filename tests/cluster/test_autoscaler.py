"""The files for Ray's autoscaler: valid by Ray, by the clouds' interfaces, and as careful as cluster/README.md says."""

import copy
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import CLOUDS, CLUSTER, ROOT, documents

SPOT = {
    "aws": lambda node: node.get("InstanceMarketOptions") == {"MarketType": "spot"},
    "gcp": lambda node: node.get("scheduling", {}).get("provisioningModel") == "SPOT",
    "azure": lambda node: node["azure_arm_parameters"].get("priority") == "Spot",
}
IN_RAY = files("ray.autoscaler")


def config(cloud: str) -> dict[str, Any]:
    return documents(f"{cloud}.yaml")[0]


def prepared(cloud: str) -> dict[str, Any]:
    return prepare_config(copy.deepcopy(config(cloud)))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_takes_the_file(cloud: str) -> None:
    validate_config(prepared(cloud))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_field_that_is_none_is_refused(cloud: str) -> None:
    wrong = prepared(cloud) | {"idle_timeout": 5}
    with pytest.raises(Exception, match="'idle_timeout' was unexpected"):
        validate_config(wrong)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_no_command_of_rays_defaults_runs_on_a_node(cloud: str) -> None:
    own, whole = config(cloud), prepared(cloud)
    commands = {name: value for name, value in whole.items() if name.endswith("_commands")}
    assert set(commands) <= set(own)
    assert {line for lines in commands.values() for line in lines} == {line for name in commands for line in own[name]}
    assert not whole.get("docker")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_head_is_on_demand_and_holds_no_trial(cloud: str) -> None:
    whole = prepared(cloud)
    head = whole["available_node_types"][whole["head_node_type"]]
    assert not SPOT[cloud](head["node_config"])
    assert head["resources"] == {"CPU": 0}
    assert "--num-cpus=0" in whole["head_start_ray_commands"][-1]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_workers_are_spot_with_and_without_a_gpu_from_none_up(cloud: str) -> None:
    whole = prepared(cloud)
    workers = {name: node for name, node in whole["available_node_types"].items() if name != whole["head_node_type"]}
    assert all(SPOT[cloud](node["node_config"]) for node in workers.values())
    assert [node["min_workers"] for node in workers.values()] == [0, 0]
    assert sorted(node["resources"].get("GPU", 0) for node in workers.values()) == [0, 1]
    assert whole["max_workers"] == 8
    assert whole["idle_timeout_minutes"] == 10
    assert whole["provider"]["cache_stopped_nodes"] is False


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_ray_that_starts_asks_for_the_token_that_is_mounted(cloud: str) -> None:
    whole = prepared(cloud)
    assert whole["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    for name in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = [line for line in whole[name] if "ray start" in line]
        assert "export RAY_AUTH_MODE=token;" in start.partition("ray start")[0]
    assert "RAY_AUTH_TOKEN" not in (CLUSTER / f"{cloud}.yaml").read_text()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_dashboard_listens_on_loopback(cloud: str) -> None:
    start = prepared(cloud)["head_start_ray_commands"][-1]
    assert "--dashboard-host=127.0.0.1 " in start


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_mounted_is_in_the_checkout_or_made_as_the_readme_says(cloud: str) -> None:
    local = set(config(cloud)["file_mounts"].values())
    readme = (CLUSTER / "README.md").read_text()
    assert "uv build --wheel --out-dir dist" in readme
    assert "> ~/.ray/auth_token" in readme
    for path in local - {"dist", "~/.ray/auth_token"}:
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_readme_names_every_line_to_edit(cloud: str) -> None:
    readme = (CLUSTER / "README.md").read_text()
    fields = set(re.findall(r"^ *(?:- )?(\w+):.*# edit$", (CLUSTER / f"{cloud}.yaml").read_text(), re.M))
    assert fields
    section = readme.partition(f"In {cloud}.yaml edit")[2].partition("\n\n")[0]
    assert {field for field in fields if f"`{field}`" not in section} == set()


@pytest.mark.parametrize("node_type", ["head", "cpu", "gpu"])
def test_ec2_takes_the_machines(node_type: str) -> None:
    node = config("aws")["available_node_types"][node_type]["node_config"]
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    report = ParamValidator().validate({**node, "MinCount": 1, "MaxCount": 1}, shape)
    assert report.generate_report() == ""


@pytest.mark.parametrize("node_type", ["head", "cpu", "gpu"])
def test_rays_template_for_azure_takes_the_machines(node_type: str) -> None:
    template = json.loads((IN_RAY / "_private" / "_azure" / "azure-vm-template.json").read_text())["parameters"]
    types = {"string": str, "int": int, "object": dict}
    node = config("azure")["available_node_types"][node_type]["node_config"]["azure_arm_parameters"]
    for name, value in node.items():
        assert isinstance(value, types[template[name]["type"]]), name


def test_azures_libraries_are_those_that_ray_was_made_with() -> None:
    theirs = yaml.safe_load((IN_RAY / "azure" / "defaults.yaml").read_text())["head_setup_commands"][0]
    pins = set(re.findall(r"\S+==\S+", theirs))
    assert pins
    assert set(re.findall(r"\S+==\S+", config("azure")["head_setup_commands"][0])) == pins
    readme = (CLUSTER / "README.md").read_text()
    assert {pin for pin in pins if pin not in readme} == set()


def test_the_launcher_and_the_nodes_have_the_ray_of_the_constraints() -> None:
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert f"'ray[default]=={version}'" in (CLUSTER / "README.md").read_text()
    for path in (CLUSTER / "kubernetes").glob("ray*.yaml"):
        assert f"rayVersion: {version}\n" in path.read_text()


def test_nothing_names_this_machine() -> None:
    for path in Path(CLUSTER).rglob("*.*"):
        assert not re.search(r"/work/|/root/|/tmp/bash", path.read_text()), path
