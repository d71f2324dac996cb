"""The code that travels with a job: autoft as it is installed here, and a person's folder."""

import contextlib
import importlib.resources
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from autoft.core.errors import ConfigError
from autoft.core.paths import local_path
from autoft.engine.machine import scratch_folder
from autoft.space.files import shipped_folder

Code = Literal["package", "installed"]
"""autoft as it is here, sent along; or the one that is installed on the cluster."""
LEFT_OUT = frozenset({".git", ".venv", "venv", "__pycache__"})
"""Folders that do not travel, as Ray leaves them out."""
MOST_BYTES = 100 * 2**20
"""A job server takes no larger request (ray 2.60)."""


@contextlib.contextmanager
def staged(code: Code, working_dir: str | Path | None) -> Iterator[Path | None]:
    """Have the folder that a job starts in: a copy of `working_dir`, with autoft in it if `code` is "package".

    Ray names what it uploads by its content, so the same code travels once. None where there is nothing to send.

    Raises:
        ConfigError: If there is no such folder, it holds a folder `autoft`, or is too large.
    """
    if code == "installed" and working_dir is None:
        yield None
        return
    with scratch_folder("autoft-code-") as folder:
        if working_dir is not None:
            _copy_working_dir(working_dir, folder, with_package=code == "package")
        if code == "package":
            _copy_package(folder)
        yield folder


def _copy_working_dir(working_dir: str | Path, target: Path, *, with_package: bool) -> None:
    source = local_path(working_dir)
    if not source.is_dir():
        raise ConfigError(f"The working folder '{working_dir}' is no folder.")
    if with_package and (source / "autoft").exists():
        raise ConfigError(
            f"The working folder '{working_dir}' holds an 'autoft', and autoft itself travels as well; give a folder "
            "with your own files alone, or --code installed."
        )
    total = 0
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in files:
            path = Path(folder) / name
            if not path.is_file():
                continue  # a socket, or a link to nowhere
            total += path.stat().st_size
            if total > MOST_BYTES:
                raise ConfigError(
                    f"The working folder '{working_dir}' has more than {MOST_BYTES >> 20} MB, which a job server does "
                    "not take; leave in it what the job needs, and put weights and data where the cluster's nodes "
                    "see them."
                )
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


def _copy_package(target: Path) -> None:
    """Copy the package, the spaces that ship with it, and the one file that tells its version."""
    _copy(importlib.resources.files("autoft"), target / "autoft")
    _copy(shipped_folder(), target / "autoft" / "_search_spaces")
    number = version("autoft")
    about = target / f"autoft-{number}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: autoft\nVersion: {number}\n")


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            if entry.name not in LEFT_OUT:
                _copy(entry, target / entry.name)
        elif not entry.name.endswith((".pyc", ".pyo")):
            (target / entry.name).write_bytes(entry.read_bytes())
