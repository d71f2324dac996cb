"""Backbones that are local folders: what their config.json says of them, also on machines that lack the folder."""

import json
from pathlib import Path
from typing import Any

from autoft.core.entries import hf_types
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json

WHOLE = "is_whole"
"""Set in what `read_config` gives; what a run recorded without it holds sizes alone."""
_elsewhere: dict[str, Json] = {}
"""What is known of folders that are not on this machine, by their path, from the runs that this process has read."""


def read_config(model: str, folder: Path) -> Json:
    """Return what an entry needs of a folder's config.json: its `model_type`, what `hf_types.used` gives, and `WHOLE`.

    Raises:
        ConfigError: If there is none, or it is damaged; names `model`, the path as it was given.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"The folder '{model}' of the backbone holds no Hugging Face model: it has no config.json.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"The file '{path}' of the backbone is no JSON: {error}.") from error
    found = _used(config)
    if found is None:
        raise ConfigError(f"The file '{path}' of the backbone names no model_type.")
    return found | {WHOLE: True}


def folder_of(model: str) -> Path | None:
    """Return the folder on this machine that a path names; None where there is none."""
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else None


def elsewhere(model: str) -> Json | None:
    """Return what `remember` was told of a folder."""
    return _elsewhere.get(model)


def remember(model: str, config: Any) -> bool:
    """Take what `read_config` gave on the machine that has the folder, and return whether it is that."""
    found = _used(config)
    if found is not None:
        _elsewhere[model] = found | ({WHOLE: True} if config.get(WHOLE) is True else {})
    return found is not None


def _used(config: Any) -> Json | None:
    """Return what an entry needs of a configuration; None if it is none."""
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        return None
    return {"model_type": config["model_type"], **hf_types.used(config)}
