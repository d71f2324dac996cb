"""Where autoft keeps what it can make again, on this machine, and how much of it."""

import contextlib
import os
import shutil
from pathlib import Path

from autoft.core.errors import ConfigError

MOST_BYTES = 64 * 2**30
SHARE_OF_DISK = 0.2
_LIMIT = "AUTOFT_CACHE_GB"


def cache_folder() -> Path:
    """Return the folder of AUTOFT_CACHE, by default ~/.cache/autoft; it need not exist yet."""
    given = os.environ.get("AUTOFT_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "autoft"


def prepared_folder() -> Path:
    """Return the folder of prepared data within the cache, the one part of it that is bounded; see `shelf`."""
    return cache_folder() / "prepared"


def prepared_limit_bytes() -> int:
    """Return the bytes that prepared data may take: AUTOFT_CACHE_GB, by default a fifth of the disk, 64 GiB at most.

    Raises:
        ConfigError: If AUTOFT_CACHE_GB is no number of gibibytes.
    """
    given = os.environ.get(_LIMIT)
    if given:
        return _bytes_of(given)
    return min(MOST_BYTES, int(SHARE_OF_DISK * _disk_bytes(cache_folder().absolute())))


def _disk_bytes(folder: Path) -> int:
    """Return the size of the disk that a folder is on or would be on, 0 if there is none."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):  # it is not there yet, or may not be looked at
            return shutil.disk_usage(place).total
    return 0


def _bytes_of(given: str) -> int:
    try:
        gibibytes = float(given)
    except ValueError:
        gibibytes = -1.0
    if not 0 <= gibibytes < float("inf"):
        raise ConfigError(
            f"{_LIMIT} is '{given}'; give the gibibytes that prepared data may take on the disk, 0 for none of it."
        )
    return int(gibibytes * 2**30)
