"""Where autoft keeps what it can make again, on this machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of AUTOFT_CACHE, by default ~/.cache/autoft; it need not exist yet."""
    given = os.environ.get("AUTOFT_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "autoft"
