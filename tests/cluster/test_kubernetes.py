"""The Kubernetes files: valid by Kubernetes' schemas and KubeRay's fields, one cluster in both, open to nobody else."""

import copy
import json
import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.cluster.files import CLUSTER, documents

KUBERNETES = kubernetes_validate.latest_version()
KUBERAY = json.loads((CLUSTER.parent / "tests" / "cluster" / "kuberay.json").read_text())
BASE = documents("kubernetes/base.yaml")
(RAYCLUSTER,) = documents("kubernetes/raycluster.yaml")
(RAYJOB,) = documents("kubernetes/rayjob.yaml")


def cluster_templates(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def all_pods() -> list[dict[str, Any]]:
    templates = [
        *cluster_templates(RAYCLUSTER["spec"]),
        *cluster_templates(RAYJOB["spec"]["rayClusterSpec"]),
        RAYJOB["spec"]["submitterPodTemplate"],
    ]
    made = [{"apiVersion": "v1", "kind": "Pod", **template} for template in templates]
    return made + [item for item in BASE if item["kind"] == "Pod"]


PODS = all_pods()


@pytest.mark.parametrize("item", BASE, ids=lambda item: item["kind"])
def test_kubernetes_takes_what_the_cluster_needs_beside_it(item: dict[str, Any]) -> None:
    kubernetes_validate.validate(item, KUBERNETES, strict=True)


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["spec"]["containers"][0]["name"])
def test_kubernetes_takes_the_pods(pod: dict[str, Any]) -> None:
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("item", [RAYCLUSTER, RAYJOB], ids=lambda item: item["kind"])
def test_kuberay_has_the_fields(item: dict[str, Any]) -> None:
    jsonschema.validate(item, KUBERAY)


def test_a_field_that_kuberay_does_not_have_is_refused() -> None:
    wrong = copy.deepcopy(RAYCLUSTER)
    wrong["spec"]["workerGroupSpecs"][0]["minReplica"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, KUBERAY)


def test_a_value_that_kubernetes_does_not_take_is_refused() -> None:
    wrong = copy.deepcopy(BASE[0])
    wrong["spec"]["accessMode"] = wrong["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_the_jobs_cluster_is_the_standing_one_but_for_the_dashboard() -> None:
    standing, passing = copy.deepcopy(RAYCLUSTER["spec"]), copy.deepcopy(RAYJOB["spec"]["rayClusterSpec"])
    hosts = [spec["headGroupSpec"]["rayStartParams"].pop("dashboard-host") for spec in (standing, passing)]
    assert hosts == ["127.0.0.1", "0.0.0.0"]
    assert standing == passing


def test_the_cluster_asks_for_a_token_and_its_head_holds_no_trial() -> None:
    spec = RAYCLUSTER["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_workers_come_with_and_without_a_gpu_from_none_up() -> None:
    groups = RAYCLUSTER["spec"]["workerGroupSpecs"]
    assert [(group["replicas"], group["minReplicas"]) for group in groups] == [(0, 0), (0, 0)]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in groups]
    assert [limit.get("nvidia.com/gpu") for limit in limits] == [None, "1"]
    assert RAYCLUSTER["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] == 600


def test_the_head_stays_off_the_spot_nodes_that_workers_prefer() -> None:
    head, *workers = [
        template["spec"]["affinity"]["nodeAffinity"] for template in cluster_templates(RAYCLUSTER["spec"])
    ]
    ((term,),) = [head["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]]
    avoided = {(rule["key"], *rule["values"]) for rule in term["matchExpressions"]}
    assert {rule["operator"] for rule in term["matchExpressions"]} == {"NotIn"}
    for worker in workers:
        wanted = [wish["preference"] for wish in worker["preferredDuringSchedulingIgnoredDuringExecution"]]
        rules = [rule for wish in wanted for rule in wish["matchExpressions"]]
        assert {(rule["key"], *rule["values"]) for rule in rules} == avoided


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["spec"]["containers"][0]["name"])
def test_no_pod_runs_as_root_and_the_policy_covers_each(pod: dict[str, Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    for container in spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert pod["metadata"]["labels"] == {"app": "autoft"}
    (policy,) = [item for item in BASE if item["kind"] == "NetworkPolicy"]
    assert policy["spec"]["podSelector"]["matchLabels"] == {"app": "autoft"}
    # The operator's sidecar in the head, the autoscaler, asks Kubernetes for pods; no other pod may.
    is_head = spec["containers"][0]["name"] == "ray-head"
    assert spec.get("automountServiceAccountToken") is (None if is_head else False)


def test_every_pod_with_trials_or_runs_mounts_the_volume_at_one_path() -> None:
    for pod in PODS:
        (container,) = pod["spec"]["containers"]
        if container["name"] != "submitter":
            assert {"name": "shared", "mountPath": "/mnt/autoft"} in container["volumeMounts"]
            assert pod["spec"]["volumes"] == [{"name": "shared", "persistentVolumeClaim": {"claimName": "autoft"}}]


def test_a_job_removes_its_cluster_and_ends_in_any_case() -> None:
    spec = RAYJOB["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] == 4 * 3600
    assert spec["backoffLimit"] == 0


def test_the_readme_names_every_line_to_edit() -> None:
    readme = (CLUSTER / "README.md").read_text()
    section = readme.partition("## Kubernetes")[2].partition("\n## ")[0]
    for path in (CLUSTER / "kubernetes").glob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if line.endswith("# edit")]
        fields = {
            re.findall(r"(\w+):", line)[-1] if "{" in line else line.strip(" -").partition(":")[0] for line in lines
        }
        assert fields
        assert {field for field in fields if f"`{field}`" not in section} == set(), path.name


def test_every_image_is_of_the_registry_that_the_readme_replaces() -> None:
    for pod in PODS:
        for container in pod["spec"]["containers"]:
            assert re.fullmatch(r"registry\.example\.com/autoft:(cpu|cuda)", container["image"])
    assert "s#registry.example.com#REGISTRY#" in (CLUSTER / "README.md").read_text()
