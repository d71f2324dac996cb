"""Hosts on one machine: namespaces joined by a bridge, each with disks and processes of its own.

Of this machine a host sees the code and its environment, read-only; of the network the other hosts and what listens on
the bridge. All of it ends with the process that made it, whatever ends that: the kernel kills a host whose maker is
gone, and its network goes with it. The bridge that a kill -9 leaves is removed by whoever makes the next one.
"""

import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Self

from autoft.engine.machine import scratch_folder
from tests.cluster.files import ROOT

COMMANDS = ("ip", "mount", "nsenter", "setpriv", "unshare")
"""What it takes, besides root: Debian's iproute2 and util-linux."""
PREFIX = "aft"
"""Of the network devices: aft, the maker's process, b for a bridge or h for a host, and a number."""
NETWORKS = "10.213"
"""Each bridge takes one of its 256 networks."""
DISK = "8g"
"""The most that a host has for its files, which are in memory; autoft leaves 2 GiB of a disk free."""
BOUND = ["setpriv", "--pdeathsig", "KILL"]
"""Before a command: the kernel kills it when its parent is gone."""
WAIT_SECONDS = 60.0
_numbers = itertools.count(1)


class Bridge:
    """A network of this machine's own, and the hosts on it; a context manager."""

    def __init__(self, *, hides: Iterable[Path] = ()) -> None:
        """Plan a network.

        Args:
            hides: Folders of this machine that are empty for its hosts, beside those in which they have their own.
        """
        self.hides = tuple(hides)
        self.hosts: list[Host] = []
        self._stack = contextlib.ExitStack()
        self._network = ""
        self.device = f"{PREFIX}{os.getpid()}b{next(_numbers)}"

    def __enter__(self) -> Self:
        """Make the network.

        Raises:
            RuntimeError: If this process may not, or a command is lacking.
        """
        lacking = [name for name in COMMANDS if shutil.which(name) is None]
        if os.geteuid() or lacking:
            raise RuntimeError(
                "Hosts are namespaces: they need root, and Debian's iproute2 and util-linux"
                + (f"; here is no {', '.join(lacking)}." if lacking else ".")
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(ended_by_signals())
            self.folder = stack.enter_context(scratch_folder("autoft-hosts-"))
            sweep()
            self._network = free_network()
            # An address of its own: it would have that of a host, and change with it, and nobody would be told.
            ip("link", "add", self.device, "address", "02:00:00:00:00:01", "type", "bridge")
            stack.callback(ip, "link", "delete", self.device)
            ip("address", "add", f"{self.address}/24", "dev", self.device)
            ip("link", "set", self.device, "up")
            stack.callback(self._end_hosts)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """The address of what listens on the bridge itself, for all hosts."""
        return f"{self._network}.1"

    def add(self, environment: Mapping[str, str]) -> "Host":
        """Have a new host, whose processes get this environment."""
        host = Host(self, number=len(self.hosts) + 1, environment=environment)
        self.hosts.append(host)
        host.start()
        return host

    def serve(self, *command: str, environment: Mapping[str, str] | None = None, log: str) -> subprocess.Popen[bytes]:
        """Run a server outside the hosts until the bridge ends; it prints into a file of the bridge's folder."""
        file = self._stack.enter_context((self.folder / log).open("wb"))
        process = subprocess.Popen([*BOUND, *command], stdout=file, stderr=file, env=environment)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _end_hosts(self) -> None:
        for host in self.hosts:
            host.kill()


class Host:
    """One of a bridge's hosts: its first process lives as long as it does."""

    def __init__(self, bridge: Bridge, *, number: int, environment: Mapping[str, str]) -> None:
        self.name = f"host{number}"
        self.address = f"{bridge.address.rpartition('.')[0]}.{10 + number}"
        self.environment = dict(environment)
        self._bridge = bridge
        self._device = f"{PREFIX}{os.getpid()}h{next(_numbers)}"
        self._folder = bridge.folder / self.name
        self._outer: subprocess.Popen[bytes] | None = None
        self._first = 0
        self._launched: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Make its namespaces, mount its disks and join it to the bridge."""
        self._folder.mkdir()
        own = self._folder / "disk"
        own.mkdir()
        apart = ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child"]
        script = boot_script(own, name=self.name, address=self.address, hides=self._bridge.hides)
        with (self._folder / "boot.log").open("wb") as log:
            self._outer = subprocess.Popen(
                [*BOUND, *apart, "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": os.environ["PATH"]},
            )
        assert self._outer.stdout is not None
        with self._outer.stdout as stream:
            if stream.readline() != b"ready\n":
                raise RuntimeError(f"{self.name} did not start: {self.log('boot.log')}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        self._first = int(children[0])
        ip("link", "add", self._device, "type", "veth", "peer", "name", "eth0", "netns", str(self._first))
        ip("link", "set", self._device, "master", self._bridge.device, "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    @property
    def is_alive(self) -> bool:
        """Whether its first process, and so the host, lives."""
        return self._outer is not None and self._outer.poll() is None

    def launch(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Run a command in the host until the host ends; what it prints goes to `log(name)`."""
        with (self._folder / log).open("ab") as file:
            process = subprocess.Popen(
                self._inside(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.environment
            )
        self._launched.append(process)
        return process

    def run(self, *command: str, seconds: float = WAIT_SECONDS) -> str:
        """Return what a command in the host prints.

        Raises:
            AssertionError: If it fails.
        """
        done = self.call(*command, seconds=seconds)
        assert done.returncode == 0, f"{self.name}: {shlex.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def call(self, *command: str, seconds: float = WAIT_SECONDS) -> subprocess.CompletedProcess[str]:
        """Return how a command in the host ended."""
        return subprocess.run(
            self._inside(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=self.environment,
        )

    def log(self, name: str) -> str:
        """Return what a launched command has printed."""
        return (self._folder / name).read_text(errors="replace")

    def path(self, inside: str | Path) -> Path:
        """Return where this machine sees a file of a living host."""
        return Path(f"/proc/{self._first}/root{inside}")

    def processes(self) -> dict[int, list[str]]:
        """Return the command lines of its processes, by their numbers in the host; of ended ones none."""
        found = {}
        for file in self.path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it has just ended
                line = file.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
                if line != [""]:
                    found[int(file.parent.name)] = line
        return found

    def send(self, number: int, process: int) -> None:
        """Send a signal to a process, by its number in the host."""
        self.run("kill", f"-{number}", str(process))

    def kill(self) -> None:
        """End all its processes at one blow; the other hosts see their connections closed."""
        if self._outer is None:
            return
        if self.is_alive:
            os.kill(self._first, signal.SIGKILL)
        for process in (self._outer, *self._launched):
            process.wait(WAIT_SECONDS)
        if self._device in devices():  # the kernel removes it when the last process is buried, or now
            with contextlib.suppress(RuntimeError):
                ip("link", "delete", self._device)

    def vanish(self) -> None:
        """Cut it off the network, then end it: the other hosts hear nothing, as of a machine without power."""
        ip("link", "set", self._device, "down")
        self.kill()

    def _inside(self, command: Iterable[str]) -> list[str]:
        into = ["nsenter", "--target", str(self._first), "--mount", "--net", "--uts", "--ipc", "--pid", "--wd=/tmp"]
        return [*BOUND, *into, *command]


def boot_script(own: Path, *, name: str, address: str, hides: Iterable[Path] = ()) -> str:
    """Return what a host's first process does: mount what is its own, hide what is this machine's, bury the dead."""
    lines = [
        "set -eu",
        f"echo {name} > /proc/sys/kernel/hostname",
        "ip link set lo up",
        f"mount -t tmpfs -o size={DISK} disk {own}",
        f"printf '127.0.0.1 localhost\\n{address} {name}\\n' > {own}/hosts",
        f"mount --bind {own}/hosts /etc/hosts",
    ]
    lines += [f"mount -o remount,bind,ro {shlex.quote(path)}" for path in disks()]
    places = hidden_places(own)
    for number, place in enumerate(places):
        lines.append(f"mkdir -m 1777 {own}/{number}")
        for path in shown_places():
            if path.is_relative_to(place):
                target = shlex.quote(f"{own}/{number}/{path.relative_to(place)}")
                source = shlex.quote(str(path))
                lines += [f"mkdir -p {target}", f"mount --bind {source} {target}", f"mount -o remount,bind,ro {target}"]
    lines += [f"mount --rbind {own}/{number} {shlex.quote(str(place))}" for number, place in enumerate(places)]
    lines += [f"mount -t tmpfs -o ro,size=4k nothing {shlex.quote(str(path))}" for path in hides]
    # bash reaps what its host's processes leave to process 1.
    return "\n".join([*lines, "echo ready", "exec > /dev/null", "sleep infinity & wait"])


def hidden_places(own: Path) -> list[Path]:
    """Return the folders in which a host has files of its own; the one that `own` lies in comes last."""
    places = {Path(text).resolve() for text in ("/tmp", "/var/tmp", "/dev/shm", tempfile.gettempdir(), Path.home())}
    outermost = [place for place in places if not any(other in place.parents for other in places)]
    return sorted(outermost, key=lambda place: (own.is_relative_to(place), place))


def shown_places() -> list[Path]:
    """Return the folders that a host needs of this machine: the code, and Python with its packages."""
    return sorted({ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()})


def disks() -> list[str]:
    """Return where this machine's file systems are mounted, but those that the kernel makes up."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1].encode().decode("unicode_escape")
        if Path(place).is_dir() and not re.match(r"/(proc|sys|dev)(/|$)", place) and place not in found:
            found.append(place)
    return found


def ip(*arguments: str) -> str:
    """Return what iproute2 answers."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def devices() -> list[str]:
    """Return the names of this machine's network devices."""
    return [str(device["ifname"]) for device in json.loads(ip("-json", "link", "show"))]


def free_network() -> str:
    """Return the first three numbers of a network that no device here has."""
    taken = {
        one["local"].rpartition(".")[0]
        for device in json.loads(ip("-json", "-4", "address", "show"))
        for one in device["addr_info"]
    }
    start = os.getpid()
    return next(name for n in range(256) if (name := f"{NETWORKS}.{(start + n) % 256}") not in taken)


def sweep() -> None:
    """Remove the devices of makers that are gone."""
    for device in devices():
        found = re.fullmatch(rf"{PREFIX}(\d+)[bh]\d+", device)
        if found and not Path(f"/proc/{found[1]}").exists():
            ip("link", "delete", device)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does: end the test with all that it cleans up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        former[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def until(is_so: Callable[[], object], what: str, *, seconds: float = WAIT_SECONDS) -> float:
    """Wait until something is so; return how long that took.

    Raises:
        AssertionError: If it takes longer than `seconds`.
    """
    start = time.monotonic()
    while not is_so():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return time.monotonic() - start
