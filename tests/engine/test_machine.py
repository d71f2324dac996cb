import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from autoft.core.configs import Resources
from autoft.core.errors import ConfigError
from autoft.engine.machine import check_request, end_children, local_cpus, reach, scratch_folder


def test_an_address_where_nobody_listens_is_refused_at_once_by_its_name():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    before = time.monotonic()
    with pytest.raises(ConfigError, match=f"Nobody listens at {address}"):
        check_request(Resources(), address)
    assert time.monotonic() - before < 5


def test_what_listens_and_is_no_ray_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConfigError, match=f"What listens at {address} is no Ray cluster"):
            check_request(Resources(), address)
        thread.join()


def test_a_ray_client_address_is_refused_with_the_way_to_go():
    with pytest.raises(ConfigError, match="autoft submit"):
        reach("ray://head:10001")


@pytest.mark.parametrize("address", ["http://head:8265", "https://head"])
def test_a_job_servers_address_is_refused_with_the_way_to_go(address):
    with pytest.raises(ConfigError) as refused:
        reach(address)
    assert str(refused.value) == (
        f"The address '{address}' is a job server's; from outside a cluster use `autoft submit --address {address} -- "
        "search ...`, on one of its machines '--address auto'."
    )


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:ray", "head:0", "head:70000"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match="neither 'auto' nor 'host:port'"):
        reach(address)


def test_auto_without_a_cluster_is_refused(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("autoft.engine.machine.CURRENT_CLUSTER", tmp_path / "none")
    with pytest.raises(ConfigError) as refused:
        reach("auto")
    assert str(refused.value) == (
        f"The address 'auto' means the Ray cluster of this machine, and there is none in {tmp_path}; start one with "
        "`ray start --head`, give the 'host:port' of one that was started with another --temp-dir, or leave the "
        "address out; a resume takes '--address local' to do without."
    )


def test_auto_is_the_address_that_ray_start_left(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "current").write_text(address + "\n")
        monkeypatch.setattr("autoft.engine.machine.CURRENT_CLUSTER", tmp_path / "current")
        assert reach("auto") == address


def test_gpus_that_are_not_there_are_refused_by_number(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="This machine has no GPU, and gpus_per_trial asks for 1"):
        check_request(Resources(gpus_per_trial=1), None)
    check_request(Resources(gpus_per_trial="auto"), None)
    check_request(Resources(gpus_per_trial=0), None)


def test_more_cores_for_a_trial_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=f"This machine has {local_cpus()} cores, and cpus_per_trial asks for 4096"):
        check_request(Resources(cpus_per_trial=4096), None)


def test_more_workers_of_a_trial_than_there_is_room_for_are_refused():
    cores = local_cpus()
    with pytest.raises(
        ConfigError, match=f"This machine has room for {cores} workers of 1 cores .* asks for {cores + 1}"
    ):
        check_request(Resources(workers_per_trial=cores + 1, gpus_per_trial=0), None)
    check_request(Resources(workers_per_trial=cores, gpus_per_trial=0), None)


def test_affinity_bounds_the_cores():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from autoft.engine.machine import local_cpus; print(local_cpus())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_the_children_that_were_started_in_a_folder_are_ended_and_no_others(tmp_path):
    code = "import time; print('up', flush=True); time.sleep(60)"
    inside = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "session")], stdout=subprocess.PIPE)
    outside = subprocess.Popen([sys.executable, "-c", code, "elsewhere"])
    assert inside.stdout is not None
    try:
        with inside.stdout as said:
            assert said.readline() == b"up\n"
        end_children(tmp_path)
        assert inside.wait(10) == -signal.SIGKILL
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()


def test_a_scratch_folder_ends_with_its_block_and_sweeps_those_of_dead_processes():
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    left = Path(tempfile.mkdtemp(prefix=f"autoft-test-{dead.pid}-", dir="/tmp"))
    with scratch_folder("autoft-test-") as folder:
        assert folder.is_dir()
        assert not left.exists()
        with scratch_folder("autoft-test-"):
            assert folder.is_dir()
    assert not folder.exists()
