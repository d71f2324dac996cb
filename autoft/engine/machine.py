"""What this machine and an address offer, found without starting Ray, so that a mistake is refused at once."""

import contextlib
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autoft.core.cache import prepared_limit_bytes
from autoft.core.configs import Resources
from autoft.core.errors import ConfigError

CONNECT_SECONDS = 3.0
"""How long a cluster's port may take to answer."""
CURRENT_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""Where `ray start` leaves the address that "auto" means."""

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS = b"\4"
"""What each side of HTTP/2, which Ray speaks, must send first: RFC 9113, sections 3.4 and 6.5."""
_ASK_SECONDS = 30.0
"""How long Ray's own client may take to load and to be answered."""
_ASK = """
import sys
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient
maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
GcsClient(address=sys.argv[1])
"""


def check_request(resources: Resources, address: str | None) -> None:
    """Refuse what cannot be had, before anything is made.

    Raises:
        ConfigError: If the address is none, or nobody, or what is no Ray, listens there; or, for a local search, if a
            trial asks for more cores or GPUs than this machine has; or if AUTOFT_CACHE_GB is no number.
    """
    prepared_limit_bytes()
    if address is not None:
        _require_ray(reach(address))
        return
    check_fits(resources, cpus=local_cpus(), gpus=local_gpus(), where="This machine")
    held = local_cpus() / resources.cpus_per_trial
    if resources.gpus_per_trial != "auto" and resources.gpus_per_trial > 0:
        held = min(held, local_gpus() / resources.gpus_per_trial)
    check_workers(resources, held=math.floor(held + 1e-6), where="This machine")


def check_fits(resources: Resources, *, cpus: float, gpus: float, where: str) -> None:
    """Refuse a trial that no node can hold.

    Raises:
        ConfigError: Naming what is asked for and what there is.
    """
    asked = resources.gpus_per_trial
    if asked != "auto" and asked > gpus:
        have = "no GPU" if not gpus else f"{gpus:g} GPUs"
        raise ConfigError(
            f"{where} has {have}, and gpus_per_trial asks for {asked:g}; use 'auto' to take what there is."
        )
    if resources.cpus_per_trial > cpus:
        raise ConfigError(f"{where} has {cpus:g} cores, and cpus_per_trial asks for {resources.cpus_per_trial:g}.")


def check_workers(resources: Resources, *, held: int, where: str) -> None:
    """Refuse a trial of more workers than there is room for.

    Raises:
        ConfigError: Naming what is asked for and what there is.
    """
    asked = resources.workers_per_trial
    if asked > max(held, 1):
        raise ConfigError(
            f"{where} has room for {held} workers of {resources.cpus_per_trial:g} cores and {resources.gpus_per_trial} "
            f"GPUs, and workers_per_trial asks for {asked}."
        )


def local_cpus() -> int:
    """Return the cores that this process may use: its affinity, within the limit of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    if limit.exists():
        quota, _, period = limit.read_text().partition(" ")
        if quota != "max":
            cores = min(cores, max(1, math.floor(int(quota) / int(period))))
    return cores


def local_gpus() -> int:
    """Return the NVIDIA GPUs that this process may use: those of the driver, within CUDA_VISIBLE_DEVICES."""
    devices = Path("/dev")
    present = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in devices.glob("nvidia*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    named = [name for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return min(present, len(named))


def reach(address: str) -> str:
    """Return "host:port" of the cluster that `address` means, after its port has answered.

    Raises:
        ConfigError: If the address is none, is of a Ray client (ray://) or a job server (http://), or nobody listens
            there.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"The address '{address}' is a Ray client's, which is not supported; from outside a cluster use "
            "`autoft submit --address http://HEAD:8265 -- search ...`, on one of its machines '--address auto'."
        )
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"The address '{address}' is a job server's; from outside a cluster use `autoft submit --address {address} "
            "-- search ...`, on one of its machines '--address auto'."
        )
    found = _current_cluster() if address == "auto" else address
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"The address '{address}' is neither 'auto' nor 'host:port', such as '127.0.0.1:6379'.")
    try:
        _connect(found).close()
    except OSError as error:
        raise ConfigError(
            f"Nobody listens at {found} ({error}); start a cluster there with `ray start --head`, or leave the "
            "address out to search on this machine."
        ) from error
    return found


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS)


def _require_ray(address: str) -> None:
    """Ask who listens by Ray's own client, in a process of its own: it writes to stderr and cannot be hurried."""
    if os.environ.get("RAY_USE_TLS") != "1" and not _speaks_http2(address):
        raise ConfigError(_no_ray(address))
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _ASK, address],
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(_no_ray(address)) from error
    if "AuthenticationError" in done.stderr:
        raise ConfigError(
            f"The Ray cluster at {address} asks for a token, and this process has another or none; put the cluster's "
            "into ~/.ray/auth_token or RAY_AUTH_TOKEN."
        )
    if done.returncode:
        raise ConfigError(_no_ray(address))


def _no_ray(address: str) -> str:
    return (
        f"What listens at {address} is no Ray cluster, or one that does not answer; `ray start --head` says its "
        "address, and without one the search runs on this machine."
    )


def _speaks_http2(address: str) -> bool:
    try:
        with _connect(address) as connection:
            connection.sendall(_PREFACE)
            return connection.recv(9, socket.MSG_WAITALL)[3:4] == _SETTINGS
    except OSError:  # it is silent, or hangs up
        return False


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Have a new folder, removed in the end; see `new_scratch_folder`."""
    folder = new_scratch_folder(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_scratch_folder(prefix: str) -> Path:
    """Make a new folder of this process's; sweep those of the same prefix that killed processes left.

    Its path is short: Ray's sockets lie in it, and the path of a socket has 107 characters at most.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > 20:
        base = Path("/tmp")
    for old in base.glob(f"{prefix}*"):
        owner = old.name.removeprefix(prefix).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=base))


def end_children(folder: Path) -> None:
    """Kill the children of this process that were started with a path in `folder`: those of a Ray half-started."""
    for listed in Path("/proc/self/task").glob("*/children"):
        for child in listed.read_text().split():
            with contextlib.suppress(OSError):  # it has ended by itself
                if os.fsencode(folder) in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)


def _current_cluster() -> str:
    given = os.environ.get("RAY_ADDRESS", "")
    if given and given not in ("auto", "local"):
        return given
    if not CURRENT_CLUSTER.exists():
        raise ConfigError(
            f"The address 'auto' means the Ray cluster of this machine, and there is none in {CURRENT_CLUSTER.parent}; "
            "start one with `ray start --head`, give the 'host:port' of one that was started with another --temp-dir, "
            "or leave the address out; a resume takes '--address local' to do without."
        )
    return CURRENT_CLUSTER.read_text().strip()
