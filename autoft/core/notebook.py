"""What a machine was found to do: small JSON notes in the cache folder, so that it is found out once a node."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from autoft.core.cache import cache_folder
from autoft.core.configs import FORMAT
from autoft.core.filelock import file_lock
from autoft.core.jsonable import Json, canonical_json, digest
from autoft.core.storage import Store

_log = logging.getLogger(__name__)

_unwritten: dict[Path, Json] = {}
"""What the disk refused: this process knows it all the same."""


def read_note(topic: str, key: Json) -> Json | None:
    """Return what is noted under `key`; None where there is nothing, or a file that is torn or of another key."""
    path = _path(topic, key)
    if path in _unwritten:
        return _unwritten[path]
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(note, dict) or (note.get("format"), note.get("key")) != (FORMAT, key):
        return None
    found = note.get("found")
    return found if isinstance(found, dict) else None


def write_note(topic: str, key: Json, found: Json) -> None:
    """Note what was found under `key`, in place of what was noted before."""
    path = _path(topic, key)
    _unwritten.pop(path, None)
    try:
        store = Store.open(path.parent)
        store.write(path.name, canonical_json({"format": FORMAT, "key": key, "found": found}).encode())
    except OSError as error:
        _log.warning("What was found on this machine is not kept in %s: %s", path, error)
        _unwritten[path] = found


@contextmanager
def alone(topic: str, key: Json, *, waits: bool = True) -> Iterator[bool]:
    """Let one process of this node at a time find out what belongs under `key`.

    Args:
        topic: As of the note.
        key: As of the note.
        waits: Whether to wait for another process that is at it; else False is given where there is one.
    """
    with ExitStack() as held:
        try:
            is_alone = held.enter_context(file_lock(_path(topic, key).with_suffix(".lock"), waits=waits)) is not None
        except OSError:
            is_alone = (
                True  # A cache folder that cannot be written is shared with nobody; who is silent is not waited for.
            )
        yield is_alone


def _path(topic: str, key: Json) -> Path:
    return cache_folder() / "machine" / f"{topic}-{digest(key)[:24]}.json"
