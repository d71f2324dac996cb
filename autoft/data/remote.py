"""Data at an address (s3://, gs:// ...): fetched whole into a folder of this machine, then read like any other."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeGuard

from autoft.core.errors import DataError, WorkError
from autoft.core.storage import Store
from autoft.data.folders import is_hidden

THREADS = 16
"""Files that travel at a time."""


def is_address(source: Any) -> TypeGuard[str]:
    """Return whether data are given by an address, not by a path or in memory."""
    return isinstance(source, str) and "://" in source


def fetched(source: str, folder: Path) -> Path:
    """Fetch a table, or a folder with all in it, into `folder`, and return its path there.

    Pictures that a table only names are not fetched: such a table is read where its pictures lie.

    Raises:
        ConfigError: If nobody answers at the address.
        DataError: If nothing lies there, or a name in it leads out of it.
        WorkError: If it cannot be read, or this machine's disk refuses.
    """
    store = Store.open(source)
    name = store.path().rpartition("/")[2]
    try:
        if not store.exists():
            raise DataError(f"There is no file or folder '{source}'.")
        if store.size("") is not None:
            _copy(store, "", folder / name)
            return folder / name
        root = folder / name
        root.mkdir(parents=True)
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(_copy, store, path, root / path) for path in _names(store, source)]:
                done.result()
    except WorkError:
        raise
    except OSError as error:
        raise WorkError(f"The data '{source}' cannot be fetched to this machine: {error}.") from error
    return root


def _names(store: Store, source: str) -> list[str]:
    """Return the names of all files in a folder, but for the system's own."""
    names = []
    for name in store.walk():
        parts = name.split("/")
        if any(part in ("", "..") or "\0" in part for part in parts):
            raise DataError(f"The name '{name}' in '{source}' leads out of it; rename the file.")
        if not any(map(is_hidden, parts)):
            names.append(name)
    return names


def _copy(store: Store, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    store.download(name, target)
