"""A Ray cluster of several nodes on this machine, whose nodes come, go and are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ray._private.services import get_node_ip_address

from autoft.core.configs import SearchConfig
from autoft.core.storage import Store
from autoft.engine.machine import scratch_folder
from autoft.record import Record, read_record

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
NODE_PORTS = ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=80000000", "--disable-usage-stats"]
DRIVER = """
import json, sys
from pathlib import Path
from autoft.core.configs import SearchConfig
from autoft.core.storage import Store
from autoft.engine.job import WorkerSpec
from autoft.engine.search import run_search
folder = Path(sys.argv[1])
search = SearchConfig.from_json(json.loads((folder / "asked.json").read_text()), where="the test")
spec = WorkerSpec(open_trial="tests.engine.workers:open_trial", finalize="tests.engine.workers:finalize")
run_search(
    search,
    store=Store.open(folder),
    worker=spec,
    listener=lambda progress: print(progress.line, flush=True),
)
"""


class Nodes:
    """The nodes of one cluster: a head without cores, and those that join."""

    def __init__(self, stack: ExitStack, folder: Path, **environment: str) -> None:
        """Start the head."""
        self._stack = stack
        self._environment = {**os.environ, **environment}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"{get_node_ip_address()}:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        options = [f"--port={port}", f"--temp-dir={folder}", "--num-cpus=0", "--include-dashboard=false"]
        self.head = self._started("--head", *options)

    def join(self, *options: str) -> subprocess.Popen[str]:
        """Start a node, of one core if nothing else is said."""
        return self._started(f"--address={self.address}", *(options or ("--num-cpus=1",)), RAY_AUTH_MODE="token")

    def _started(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = [*RAY, "start", "--block", *options, *NODE_PORTS]
        given = {**self._environment, **environment}
        node = self._stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=given)
        )
        self._stack.callback(kill, node)
        assert node.stdout is not None
        said = []
        for line in node.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return node
        raise AssertionError("".join(said))


@contextmanager
def nodes(**environment: str) -> Iterator[Nodes]:
    """Have a cluster, all of whose processes are killed in the end."""
    with scratch_folder("autoft-test-ray-") as folder, ExitStack() as stack:
        yield Nodes(stack, folder, **environment)


def kill(node: subprocess.Popen[str]) -> None:
    """Kill a node as a power cut does: all of its processes at once."""
    for process in [node.pid, *descendants(node.pid)]:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:  # it has ended
            continue


def descendants(process: int) -> list[int]:
    """Return the processes that one has started, theirs among them."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = list(parents.get(process, []))
    for child in found:
        found.extend(parents.get(child, []))
    return found


@contextmanager
def searching(search: SearchConfig, folder: Path, scripts: dict[str, object]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a search of scripted trials under way in a process of its own, which is killed in the end."""
    folder.mkdir(exist_ok=True)
    (folder / "asked.json").write_text(json.dumps(search.to_json()))
    (folder / "script.json").write_text(json.dumps(scripts))
    command = [sys.executable, "-c", DRIVER, str(folder)]
    with (folder / "said.txt").open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as driver:
        try:
            yield driver
        finally:
            driver.kill()


def record_when(
    driver: subprocess.Popen[bytes], folder: Path, holds: Callable[[Record], object], *, seconds: float = 90
) -> Record:
    """Return the record of a running search as soon as something holds of it."""
    end = time.monotonic() + seconds
    while True:
        if Store.open(folder).list("results"):
            record = read_record(Store.open(folder))
            if holds(record):
                return record
        assert driver.poll() is None, (folder / "said.txt").read_text()[-3000:]
        assert time.monotonic() < end, (folder / "said.txt").read_text()[-3000:]
        time.sleep(0.1)
