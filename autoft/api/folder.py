"""The run folder: where each thing lies, and who may write."""

import contextlib
import csv
import hashlib
import io
import os
import platform
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from autoft import backbones
from autoft.core import catalog
from autoft.core.configs import FORMAT, SearchConfig
from autoft.core.errors import ConfigError, FormatError
from autoft.core.jsonable import Json, canonical_json
from autoft.core.storage import Store
from autoft.space import SearchSpace
from autoft.strategies.experience import Experience, from_bytes, to_bytes

EXPERIENCE = "experience.parquet"
"""What the search learns from, beside search.yaml, which has its hash."""
_FOLDERS = ("data", "weights", "results", "logs", "checkpoints")
PACKAGES = ("autoft", "ray", "torch", "torchvision", "timm", "transformers", "hyperopt", "pyarrow", "numpy", "pillow")


def require_empty(store: Store, out: str | Path) -> None:
    """Refuse a run folder that holds something; what a search left that was killed while it laid the run is nothing.

    Raises:
        ConfigError: If it does; names the command that goes on with a run.
    """
    if store.is_local:
        _require_writable(Path(store.path()), out)
    if store.exists("search.yaml"):
        raise ConfigError(
            f"The output folder '{out}' holds a search; `autoft resume {shlex.quote(str(out))}` goes on with it."
        )
    if store.list() and not _was_cut_off(store):
        raise ConfigError(f"The output folder '{out}' is not empty; give a new one.")


def _was_cut_off(store: Store) -> bool:
    """Return whether a folder holds what a search lays before search.yaml, its rows first, and nothing else."""
    names = set(store.list())
    rows = store.list("data")
    ours = all(
        re.fullmatch(r"dataset\..*(arrow|partial)" if store.is_local else r"[0-9a-f]{64}", name) for name in rows
    )
    return bool(rows) and ours and names <= {"data", "weights", "quarantine.csv", "environment.json", EXPERIENCE}


def _require_writable(folder: Path, out: str | Path) -> None:
    """Refuse a folder that cannot be made, or be written to; makes nothing."""
    if folder.is_file():
        raise ConfigError(f"The output folder '{out}' is a file; give a new folder.")
    if folder.is_symlink() and not folder.exists():
        raise ConfigError(f"The output folder '{out}' is a link to '{folder.readlink()}', which is not there.")
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise ConfigError(f"The output folder '{out}' cannot be made: '{there}' is a file.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"The output folder '{out}' cannot be made: '{there}' may not be written to.")


def write_search(store: Store, search: SearchConfig) -> None:
    """Write search.yaml."""
    text = yaml.safe_dump(search.to_json(), sort_keys=False, allow_unicode=True, width=120)
    store.write("search.yaml", text.encode())


def read_search(store: Store, run: str | Path) -> SearchConfig:
    """Read search.yaml; the catalog then knows the backbones of its space, also those named by a folder elsewhere.

    Raises:
        FormatError: If the folder is no run, or of a newer format.
    """
    where = store.path("search.yaml")
    try:
        values = yaml.safe_load(store.read("search.yaml"))
    except (FileNotFoundError, NotADirectoryError):
        raise FormatError(
            f"'{run}' is no run: it has no search.yaml. `autoft search DATA --out RUN` makes one."
        ) from None
    except yaml.YAMLError as error:
        raise FormatError(f"{where} is damaged: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise FormatError(f"{where} is damaged: it holds no map.")
    search = SearchConfig.from_json(values, where=where)
    backbones.learn_folders(store, search.space.get("backbone"))
    return search


def write_experience(store: Store, experience: Experience) -> str:
    """Write experience.parquet, which the search learns from, and return its SHA-256."""
    content = to_bytes(experience)
    store.write(EXPERIENCE, content)
    return hashlib.sha256(content).hexdigest()


def read_experience(store: Store, search: SearchConfig) -> Experience | None:
    """Return what the search of a run learns from; None where it learns from nothing.

    Raises:
        FormatError: If the run has lost experience.parquet, or it is another than the search began with.
    """
    if search.experience is None:
        return None
    where = store.path(EXPERIENCE)
    if not store.exists(EXPERIENCE):
        raise FormatError(f"The run '{store.path()}' has lost {EXPERIENCE}, which its search learns from.")
    content = store.read(EXPERIENCE)
    if hashlib.sha256(content).hexdigest() != search.experience:
        raise FormatError(f"'{where}' is not the experience that the search began with (its SHA-256 differs).")
    return from_bytes(content, where=where)


def write_environment(store: Store) -> None:
    """Write environment.json: versions and hardware."""
    store.write("environment.json", canonical_json(environment()).encode())


def environment() -> Json:
    """Return versions and hardware of this machine, without importing what is heavy."""
    from importlib.metadata import PackageNotFoundError, version  # costs readers of a run more than they need

    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "format": FORMAT,
        "python": platform.python_version(),
        "packages": versions,
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": pages >> 20,
        "gpus": gpu_names(),
    }


def gpu_names(folder: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Return the models of the NVIDIA GPUs that the driver lists, without loading torch."""
    lines = [line for path in sorted(folder.glob("*/information")) for line in path.read_text().splitlines()]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def write_quarantine(store: Store, rows: Sequence[tuple[str, str]]) -> None:
    """Write quarantine.csv: row and reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "reason"])
    writer.writerows(rows)
    store.write("quarantine.csv", text.getvalue().encode())


def remove_run(store: Store) -> None:
    """Remove what `search` laid, of a search that could not start."""
    for name in ("search.yaml", "environment.json", "quarantine.csv", EXPERIENCE, *_FOLDERS):
        store.delete(name)
    if store.is_local and not store.list():
        with contextlib.suppress(OSError):  # hidden files in it are the person's own
            Path(store.path()).rmdir()


def place_dataset(
    store: Store,
    prepared: Path,
    fingerprint: str,
    *,
    contents: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Put the prepared rows into the run; see `RunRows.place`."""
    from autoft.data import RunRows  # costs more than all else that readers of a run need

    RunRows(store, fingerprint).place(prepared, contents=contents, progress=progress)


def place_weights(store: Store, space: SearchSpace, *, travels: bool) -> None:
    """Put pretrained weights that no hub can give into the run, for machines that lack them; see `backbones.bring`.

    If none travels, the run gets the hashes of backbones that are named by a folder.
    """
    given = space.backbones()
    if not travels:
        given = [one for one in given if "folder" in catalog.entry("backbone", str(one["name"])).facts]
    sources = [source for backbone in given for source in backbones.needed_files(backbone)]
    backbones.bring(store, sources, travels=travels)


def check_dataset(store: Store, fingerprint: str) -> None:
    """Find that an existing run has its rows.

    Raises:
        FormatError: If the run has lost them, they are damaged, or they are another search's.
    """
    from autoft.data import RunRows

    RunRows(store, fingerprint).check()
