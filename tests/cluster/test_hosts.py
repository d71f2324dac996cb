"""The hosts that the cluster tests use: apart from this machine and, but for their network, from one another."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoft.core.errors import WorkError
from tests.cluster.files import EXECUTABLES, ROOT
from tests.cluster.hosts import PREFIX, Bridge, Host, devices, until

pytestmark = pytest.mark.cluster
ENVIRONMENT = {"PATH": f"{EXECUTABLES}:{os.environ['PATH']}", "HOME": "/tmp"}
MAKER = """
import time
from tests.cluster.hosts import Bridge, until
from tests.cluster.test_hosts import ENVIRONMENT
with Bridge() as bridge:
    host = bridge.add(ENVIRONMENT)
    bridge.serve("sleep", "1000", log="server.log")
    host.launch("sleep", "1000", log="sleep.log")
    until(lambda: ["sleep", "1000"] in host.processes().values(), "it runs")
    print(bridge.folder, flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    with Bridge() as made:
        yield made


@pytest.fixture(scope="module")
def two(bridge: Bridge) -> tuple[Host, Host]:
    return bridge.add(ENVIRONMENT), bridge.add(ENVIRONMENT)


def left_of(maker: int, folder: Path) -> list[str]:
    """Return what is left of a maker: its devices, its folder, and processes that were started in the folder."""
    found = [device for device in devices() if device.startswith(f"{PREFIX}{maker}")]
    if folder.exists():
        found.append(str(folder))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
            outputs = [str((process / "fd" / str(number)).readlink()) for number in (1, 2)]
        except OSError:  # it has ended
            continue
        if any(str(folder) in text for text in (line, *outputs)):
            found.append(line)
    return found


def test_hosts_reach_each_other_and_the_bridge_and_nothing_else(bridge: Bridge, two: tuple[Host, Host]) -> None:
    one, other = two
    assert one.run("hostname").strip() == one.name != other.name
    script = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
print("listening", flush=True)
server.accept()[0].sendall(b"hello")
"""
    other.launch("python", "-c", script, other.address, log="server.log")
    until(lambda: "listening" in other.log("server.log"), "the server listens")
    ask = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), timeout=5).recv(9).decode())"
    assert one.run("python", "-c", ask, other.address) == "hello\n"
    assert one.run("ip", "route").splitlines() == [
        f"{bridge.address.rpartition('.')[0]}.0/24 dev eth0 proto kernel scope link src {one.address} "
    ]
    assert "Network is unreachable" in one.call("python", "-c", ask, "192.0.2.9").stderr


def test_a_host_sees_no_file_of_this_machine_but_the_code_and_cannot_write_there(
    two: tuple[Host, Host], tmp_path: Path
) -> None:
    one, other = two
    mine = tmp_path / "mine.txt"
    mine.write_text("x")
    assert one.call("test", "-e", str(mine)).returncode == 1
    assert one.run("ls", "-A", str(Path.home()), "/dev/shm").count("auth_token") == 0
    one.run("touch", "/tmp/own")
    assert one.path("/tmp/own").exists()
    assert other.call("test", "-e", "/tmp/own").returncode == 1
    assert not Path("/tmp/own").exists()
    assert one.run("cat", str(ROOT / "pyproject.toml")) == (ROOT / "pyproject.toml").read_text()
    for place in (ROOT, Path(sys.prefix).resolve(), Path("/etc")):
        assert "Read-only file system" in one.call("touch", str(place / "written")).stderr


def test_a_host_sees_its_own_processes_alone(two: tuple[Host, Host]) -> None:
    one, other = two
    other.launch("sleep", "987654", log="sleep.log")
    until(lambda: ["sleep", "987654"] in other.processes().values(), "it runs")
    assert "987654" not in one.run("ps", "ax")
    assert 1 in one.processes()


@pytest.mark.parametrize("end", ["kill", "vanish"])
def test_a_host_that_ends_takes_its_processes_and_its_device_along(bridge: Bridge, end: str) -> None:
    host = bridge.add(ENVIRONMENT)
    process = host.launch("sleep", "1000", log="sleep.log")
    until(lambda: ["sleep", "1000"] in host.processes().values(), "it runs")
    before = devices()
    getattr(host, end)()
    assert process.wait(10) == -signal.SIGKILL
    assert not host.is_alive
    assert len(devices()) == len(before) - 1


@pytest.mark.parametrize(("end", "seen"), [("kill", "closed"), ("vanish", "silent")])
def test_peers_see_a_killed_host_hang_up_and_a_vanished_one_fall_silent(bridge: Bridge, end: str, seen: str) -> None:
    host, peer = bridge.add(ENVIRONMENT), bridge.add(ENVIRONMENT)
    server = """
import socket, time
server = socket.create_server(("", 7000))
print("listening", flush=True)
connection = server.accept()
time.sleep(99)
"""
    client = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 7000))
connection.settimeout(2)
print("connected", flush=True)
try:
    connection.recv(1)
    print("closed", flush=True)
except TimeoutError:
    print("silent", flush=True)
except ConnectionError:
    print("closed", flush=True)
"""
    host.launch("python", "-c", server, log="server.log")
    until(lambda: host.log("server.log"), "the server listens")
    peer.launch("python", "-c", client, host.address, log="client.log")
    until(lambda: peer.log("client.log"), "the client is connected")
    getattr(host, end)()
    until(lambda: peer.log("client.log") == f"connected\n{seen}\n", f"the connection is {seen}", seconds=10)
    peer.kill()


def test_an_error_inside_leaves_nothing() -> None:
    before, bridge = devices(), Bridge()

    def fail() -> None:
        with bridge:
            host = bridge.add(ENVIRONMENT)
            bridge.serve("sleep", "1000", log="server.log")
            host.launch("sleep", "1000", log="sleep.log")
            until(lambda: ["sleep", "1000"] in host.processes().values(), "it runs")
            raise WorkError("in the middle")

    with pytest.raises(WorkError):
        fail()
    assert left_of(0, bridge.folder) == []
    assert devices() == before


@contextmanager
def making(*command: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Have a process that runs `MAKER`, and its bridge's folder."""
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=ROOT) as maker:
        try:
            assert maker.stdout is not None
            folder = Path(maker.stdout.readline().strip())
            assert len(left_of(maker.pid, folder)) > 4
            yield maker, folder
        finally:
            maker.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(number: signal.Signals) -> None:
    with making("-c", MAKER) as (maker, folder):
        maker.send_signal(number)
        assert maker.wait(30) != 0
        assert left_of(maker.pid, folder) == []


def test_pytest_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "test_maker.py"
    body = textwrap.indent(MAKER.strip(), "    ")
    file.write_text(f"def test_nothing():\n{body}\n")
    options = ["-s", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    with making("-m", "pytest", *options, str(file)) as (maker, folder):
        maker.terminate()
        assert maker.wait(30) == pytest.ExitCode.INTERRUPTED
        assert left_of(maker.pid, folder) == []


def test_of_a_killed_maker_only_the_bridge_and_files_are_left_and_the_next_one_removes_them() -> None:
    with making("-c", MAKER) as (maker, folder):
        maker.kill()
        maker.wait(30)
    left = [f"{PREFIX}{maker.pid}b1", str(folder)]
    until(lambda: left_of(maker.pid, folder) == left, "the kernel ends the hosts", seconds=5)
    with Bridge():
        assert left_of(maker.pid, folder) == []
