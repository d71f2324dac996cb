"""What a run knows of pretrained weights that no hub can give: `weights/weights.json`, its files and their hashes."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.backbones.sources import is_plain_name, weights_files
from autoft.core.configs import FORMAT, check_format, from_json
from autoft.core.entries.folders import remember
from autoft.core.errors import FormatError, WeightsError
from autoft.core.jsonable import Json, canonical_json
from autoft.core.typed import check_types

if TYPE_CHECKING:
    from autoft.core.storage import Store

FOLDER = "weights"
LISTING = "weights.json"
_OTHER_SUFFIXES = (".json", ".txt", ".model")
"""Of configurations and tokenizers, beside the weights in a model's folder."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TravellingFile:
    """One file of a backbone."""

    name: str
    bytes: int
    sha256: str

    @property
    def stored(self) -> str:
        """Its name in the run's folder of weights, and on a shelf; the suffix says how it is read."""
        return f"{self.sha256}{Path(self.name).suffix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TravellingWeights:
    """The files of one backbone."""

    backbone: str
    weights: str | None
    """The setting of that name; None: of an installed package, or of the folder that names the backbone."""
    source: str
    """What a trial records of them."""
    is_folder: bool
    files: tuple[TravellingFile, ...]
    config: Json | None = None
    """Of a backbone that is named by a local folder: what its catalog entry is made of; None: it is another."""
    travels: bool = True
    """Whether the files lie beside the listing; else they are only told from others."""

    def changes(self, folder: Path) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield each file of a folder on this machine that is another: its name, and its SHA-256 before and now."""
        before = {file.name: file for file in self.files}
        now = {path.name: path for path in files_of(folder)}
        for name in sorted(before.keys() | now.keys()):
            old = before[name].sha256 if name in before else None
            new = file_of(now[name]).sha256 if name in now else None
            if old != new:
                yield name, old, new


def file_of(path: Path) -> TravellingFile:
    """Return the file at a path, with its hash, which is computed once in a process while the file stays as it is."""
    found = path.stat()
    sha256 = _known_sha256(path, found.st_size, found.st_mtime_ns, found.st_ino)
    return TravellingFile(name=path.name, bytes=found.st_size, sha256=sha256)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a model's folder that building it may read: weights, if there are any, and all other kinds.

    What a training leaves beside them (optimizer.pt, training_args.bin) is not read.
    """
    try:
        weights = weights_files(folder)
    except WeightsError:  # it has none, which `weights: none` or weights of another place go with
        weights = []
    others = [path for path in folder.iterdir() if path.is_file() and path.suffix in _OTHER_SUFFIXES]
    return sorted({*weights, *others})


def is_whole(path: Path, file: TravellingFile) -> bool:
    """Return whether a file is there and holds what it should."""
    return path.is_file() and path.stat().st_size == file.bytes and _sha256(path) == file.sha256


def write_listing(folder: "Store", weights: list[TravellingWeights]) -> None:
    """Write what a run's folder of weights holds."""
    values = {"format": FORMAT, "weights": [dataclasses.asdict(one) for one in weights]}
    folder.write(LISTING, canonical_json(values).encode())


def read_listing(folder: "Store") -> tuple[TravellingWeights, ...]:
    """Return what a run's folder of weights holds, nothing where there is none; the catalog knows its folders then.

    Raises:
        FormatError: If it is damaged or of a newer format.
    """
    where = f"'{folder.path(LISTING)}'"
    try:
        values = json.loads(folder.read(LISTING))
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise FormatError(f"{where} is damaged: {error}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("weights"), list):
        raise FormatError(f"{where} is damaged: it has no list of weights.")
    check_format(values, where=where)
    found = tuple(_read(one, where=where) for one in values["weights"])
    for one in found:
        if one.config is not None and not remember(one.backbone.removeprefix("hf:"), one.config):
            raise FormatError(f"{where} is damaged: the config of {one.backbone!r} names no model_type.")
    return found


def _read(values: Json, *, where: str) -> TravellingWeights:
    if not isinstance(values, dict) or not isinstance(values.get("files"), list) or not values["files"]:
        raise FormatError(f"{where} is damaged: it has no list of files.")
    files = tuple(from_json(TravellingFile, file, where=where) for file in values["files"])
    for file in files:
        check_types(TravellingFile, dataclasses.asdict(file), where=where)
        if not is_plain_name(file.name) or _SHA256.fullmatch(file.sha256) is None:
            raise FormatError(f"{where} is damaged: {file.name!r} is no name of a file, or has no SHA-256.")
    found = from_json(TravellingWeights, {**values, "files": files}, where=where)
    check_types(TravellingWeights, {**values, "files": []}, where=where)
    return found


@lru_cache(maxsize=1024)
def _known_sha256(path: Path, num_bytes: int, changed_ns: int, inode: int) -> str:
    """Return a file's SHA-256; the other arguments say which content it is of."""
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
