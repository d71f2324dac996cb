"""The nodes of the Ray that this process uses: which there are, which are about to go, and whether more may come."""

import json
import math
import socket

import ray
from ray._private import ray_constants
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.core.generated.gcs_pb2 import GcsNodeInfo
from ray.exceptions import GetTimeoutError, RpcError
from ray.experimental.internal_kv import _internal_kv_get

from autoft.core.configs import Resources
from autoft.core.errors import ConfigError
from autoft.engine.machine import check_fits, check_workers
from autoft.engine.places import Node, Request, base_request, num_places, num_workers

ANSWER_SECONDS = 2.0
"""How long the head may take to answer before what is known of the nodes is kept."""
RAYLET_SECONDS = 1.0
"""How long a node's own process may take to answer before the node is taken for lost."""


def look() -> tuple[Node, ...] | None:
    """Return the living nodes, those that are about to go among them; None where the head does not answer."""
    head = ray._private.worker.global_worker.gcs_client
    try:
        known = head.get_all_node_info(timeout=ANSWER_SECONDS)
        leaving = head.get_draining_nodes(timeout=ANSWER_SECONDS)
    except (RpcError, GetTimeoutError):
        return None
    return tuple(
        _node(number.hex(), dict(info.resources_total), leaves=number.hex() in leaving)
        for number, info in known.items()
        if info.state == GcsNodeInfo.ALIVE
    )


def _node(name: str, resources: dict[str, float], *, leaves: bool = False) -> Node:
    return Node(
        name=name,
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory=resources.get("memory", math.inf),
        leaves=leaves,
    )


def check_nodes(resources: Resources) -> None:
    """Refuse a trial that no node of the cluster can hold, and none that may come.

    Nodes may come where an autoscaler adds them, and where none that holds trials has joined yet.

    Raises:
        ConfigError: Naming what is asked for and what the largest node has.
    """
    nodes = look() or ()
    asked = base_request(resources, nodes)
    if num_places(nodes, asked=asked) or not any(node.cpus for node in nodes) or grows():
        return
    cpus = max((node.cpus for node in nodes), default=0.0)
    gpus = max((node.gpus for node in nodes), default=0.0)
    check_fits(resources, cpus=cpus, gpus=gpus, where="The Ray cluster's largest node")
    check_workers(resources, held=num_workers(nodes, asked=asked), where="The Ray cluster")
    raise ConfigError(
        f"No node of the Ray cluster has {resources.cpus_per_trial:g} cores and {resources.gpus_per_trial} GPUs "
        "together, which a trial asks for; lower cpus_per_trial or gpus_per_trial."
    )


def first_request(resources: Resources) -> Request:
    """Return what a trial asks for of the nodes there are, before anything is known of its like."""
    return base_request(resources, look() or ())


def held(resources: Resources) -> int:
    """Return how many trials of which nothing is known the nodes hold side by side, `concurrent` at most."""
    nodes = look() or ()
    places = num_places(nodes, asked=base_request(resources, nodes))
    return min(places, resources.concurrent or places)


def node_of(actor: ray.actor.ActorHandle) -> str:
    """Return the name of the node that an actor runs on; "" where Ray no longer knows."""
    known = ray._private.state.actors(actor._actor_id.hex())
    return str(known.get("Address", {}).get("NodeID", ""))


def is_gone(name: str) -> bool:
    """Return whether a node is lost, also where Ray has not noticed it yet: its own process does not answer."""
    found = next((node for node in ray.nodes() if node["NodeID"] == name), None)
    if found is None or not found["Alive"]:
        return True
    try:
        raylet = (found["NodeManagerAddress"], found["NodeManagerPort"])
        socket.create_connection(raylet, timeout=RAYLET_SECONDS).close()
    except OSError:
        return True
    return False


def grows() -> bool:
    """Return whether an autoscaler adds nodes; that of a cluster started by hand only tells of those there are.

    Of Ray 2.60's two, the newer tells the head of its state, and the older writes a report there.
    """
    head = ray._private.worker.global_worker.gcs_client
    status = GetClusterStatusReply()
    try:
        status.ParseFromString(head.get_cluster_status(timeout_s=ANSWER_SECONDS))
        written = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    except (RpcError, GetTimeoutError):
        return False
    if status.HasField("autoscaling_state"):
        return True
    report = json.loads(written or "{}").get("autoscaler_report") or {}
    kinds = {*(report.get("active_nodes") or ()), *(report.get("idle_nodes") or ())}
    return any(not kind.startswith("node_") for kind in kinds)
