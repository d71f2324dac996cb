import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from autoft.core.configs import Resources
from autoft.core.errors import ConfigError
from autoft.engine.cluster import connected, keys_left_out
from autoft.engine.machine import check_request, local_cpus, scratch_folder
from autoft.engine.nodes import check_nodes, is_gone, look, node_of

LISTENING = "0A"


def test_the_address_of_another_ray_than_the_one_in_use_is_refused(ray_cluster: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match=f"already uses the Ray at .* asks for {address}"),
            connected(Resources(), address),
        ):
            pytest.fail("it was connected")
    with connected(Resources(), ray.get_runtime_context().gcs_address):
        assert ray.is_initialized()


def test_a_trial_that_no_node_holds_is_refused_where_no_other_can_come(ray_cluster: None) -> None:
    (node,) = look() or ()
    assert (node.cpus, node.leaves) == (local_cpus(), False)
    with pytest.raises(ConfigError, match=r"largest node has \d+ cores, and cpus_per_trial asks for 4096"):
        check_nodes(Resources(cpus_per_trial=4096))


def test_the_node_of_an_actor_is_known_and_is_there(ray_cluster: None) -> None:
    actor = ray.remote(num_cpus=0)(Quiet).remote()
    ray.get(actor.nothing.remote())
    (node,) = look() or ()
    assert node_of(actor) == node.name
    assert not is_gone(node.name)
    assert is_gone("no node")


class Quiet:
    def nothing(self) -> None:
        """Be there."""


def test_a_ray_that_answers_is_known_for_one(ray_cluster: None) -> None:
    check_request(Resources(), ray.get_runtime_context().gcs_address)


JOIN = """
import sys
from autoft.core.configs import Resources
from autoft.engine.cluster import connected
with connected(Resources(), sys.argv[1]):
    import ray
    print(ray.get(ray.remote(lambda: 7).remote()))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_search_joins_a_cluster_of_this_machine_that_asks_for_a_token() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with scratch_folder("autoft-test-ray-") as folder:
        options = ["--port", str(port), "--temp-dir", str(folder), "--num-cpus", "1", "--include-dashboard", "false"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as head:
            try:
                assert head.stdout is not None
                address = next(found[1] for line in head.stdout if (found := re.search(r"--address='(.*?)'", line)))
                joined = subprocess.run(
                    [sys.executable, "-c", JOIN, address], check=True, capture_output=True, text=True
                )
            finally:
                head.terminate()
    assert joined.stdout == "7\n"


def test_a_local_ray_listens_on_loopback_alone(ray_cluster: None) -> None:
    (node,) = ray.nodes()
    assert node["NodeManagerAddress"] == "127.0.0.1"
    address, port = ray.get_runtime_context().gcs_address.rsplit(":", 1)
    assert address == "127.0.0.1"
    ports = {int(port), node["NodeManagerPort"], node["ObjectManagerPort"]}
    listening: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            where, _, number = local.rpartition(":")
            if state == LISTENING and int(number, 16) in ports:
                listening.setdefault(int(number, 16), set()).add(where)
    assert set(listening) == ports
    # 127.0.0.1, as IPv4 and as IPv4 within IPv6, in the kernel's byte order.
    assert set.union(*listening.values()) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_no_process_of_a_local_ray_listens_beyond_loopback(ray_cluster: None) -> None:
    session = ray._private.worker._global_node.get_session_dir_path()
    processes = [
        os.getpid(),
        *(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if of(path, session)),
    ]
    # The gcs server, the raylet and its agents among them.
    assert len(processes) >= 4
    sockets = {number for process in processes for number in sockets_of(process)}
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, _, _, inode, *_ = line.split()
            if state == LISTENING and inode in sockets:
                listening[local] = local.rpartition(":")[0]
    assert len(listening) >= 3
    assert set(listening.values()) <= {
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    }


def of(cmdline: Path, session: str) -> bool:
    try:
        return os.fsencode(session) in cmdline.read_bytes()
    except OSError:  # it has ended
        return False


def sockets_of(process: int) -> set[str]:
    """Return the numbers of a process's sockets, as /proc/net/tcp has them."""
    numbers = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):  # it is closed by now
            numbers.update(re.findall(r"^socket:\[(\d+)\]$", str(descriptor.readlink())))
    return numbers


def test_tune_hands_no_keys_of_this_process_to_workers_whose_command_lines_would_show_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray.tune.execution import class_cache

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    # As Tune has it: the Ray that the tests share has left the keys out already.
    monkeypatch.setattr(
        class_cache, "ENV_VARS_TO_PROPAGATE", {"AWS_SECRET_ACCESS_KEY", *class_cache.ENV_VARS_TO_PROPAGATE}
    )

    class Work:
        pass

    def handed() -> dict[str, str]:
        return dict(class_cache._ActorClassCache().get(Work)._default_options["runtime_env"]["env_vars"])

    assert handed()["AWS_SECRET_ACCESS_KEY"] == "planted"
    with keys_left_out():
        assert "planted" not in handed().values()
    assert handed()["AWS_SECRET_ACCESS_KEY"] == "planted"
