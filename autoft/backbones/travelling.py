"""Pretrained weights that no hub can give travel with a run: files that a person gave, or that a package holds.

`weights/weights.json` in the run folder names for each backbone and its setting `weights` the files, which lie beside
it under their SHA-256. A machine where the path or the package is not there fetches them once, and checks them.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.backbones.sources import WEIGHT_SUFFIXES, WeightsSource
from autoft.core.cache import cache_folder
from autoft.core.configs import FORMAT, check_format, from_json
from autoft.core.errors import FormatError, WeightsError
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json, canonical_json, digest
from autoft.core.typed import check_types

if TYPE_CHECKING:
    from autoft.core.storage import Store

FOLDER = "weights"
LISTING = "weights.json"
_OTHER_SUFFIXES = (".json", ".txt", ".model")
"""Of configurations and tokenizers, beside the weights in a model's folder."""


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
    """The setting of that name; None: of an installed package."""
    source: str
    """What a trial records of them."""
    is_folder: bool
    files: tuple[TravellingFile, ...]


class _Brought:
    """The weights of one run, as a machine that lacks them sees them."""

    def __init__(self, store: "Store", heartbeat: Beat) -> None:
        self._store = store.within(FOLDER)
        self._heartbeat = heartbeat
        self._listing: tuple[TravellingWeights, ...] | None = None

    def find(self, backbone: str, weights: str | None) -> WeightsSource | None:
        if self._listing is None:
            self._listing = read_listing(self._store)
        for one in self._listing:
            if (one.backbone, one.weights) == (backbone, weights):
                path = self._folder(one) if one.is_folder else self._file(one.files[0])
                kind = "package" if weights is None else "file"
                return WeightsSource(kind=kind, path=path, description=one.source)  # type: ignore[arg-type]
        return None

    def _folder(self, one: TravellingWeights) -> Path:
        """Return a folder with links to the files, under their own names."""
        folder = cache_folder() / "weights" / digest([dataclasses.asdict(file) for file in one.files])[:24]
        folder.mkdir(parents=True, exist_ok=True)
        for file in one.files:
            target, link = self._file(file), folder / file.name
            if not (link.is_symlink() and link.readlink() == target):
                made = folder / f".{file.name}.{os.getpid()}"
                made.unlink(missing_ok=True)
                made.symlink_to(target)
                made.replace(link)
        return folder

    def _file(self, file: TravellingFile) -> Path:
        if self._store.is_local:
            path = Path(self._store.path(file.stored))
            if not _is_whole(path, file):
                raise FormatError(f"'{path}' of the run's weights is lost or damaged (its SHA-256 differs).")
            return path

        def fetch(path: Path, beat: Beat) -> None:
            try:
                self._store.download(file.stored, path, heartbeat=beat)
            except FileNotFoundError:
                raise FormatError(f"The run has lost '{self._store.path(file.stored)}', of its weights.") from None
            if not _is_whole(path, file):
                raise FormatError(f"'{self._store.path(file.stored)}' is damaged (its SHA-256 differs).")

        try:
            from autoft.core.shelf import Shelf  # costs more than all else that locating weights needs

            return Shelf().file(
                file.stored,
                fetch,
                is_whole=lambda path: _is_whole(path, file),
                num_bytes=file.bytes,
                heartbeat=self._heartbeat,
            )
        except OSError as error:
            raise WeightsError(
                f"The weights '{file.name}', which travel with the run, cannot be kept on this machine: {error}."
            ) from error


_brought: list[_Brought] = []
"""Where weights are looked for that are not on this machine: the innermost last."""


@contextlib.contextmanager
def weights_of(store: "Store", heartbeat: Beat = lambda: None) -> Iterator[None]:
    """Let backbones that are built inside find weights that are not on this machine in the run in `store`.

    Args:
        store: The run folder.
        heartbeat: Called while they are fetched.
    """
    _brought.append(_Brought(store, heartbeat))
    try:
        yield
    finally:
        _brought.pop()


def brought(backbone: str, weights: str | None) -> WeightsSource | None:
    """Return weights that the run has brought along; None where there are none, or no run is looked into.

    Raises:
        FormatError: If they are lost or damaged.
        WeightsError: If they cannot be kept on this machine.
    """
    return _brought[-1].find(backbone, weights) if _brought else None


def bring(store: "Store", sources: Iterable[tuple[str, str | None, WeightsSource]]) -> None:
    """Put weights that no hub can give into the run in `store`; what is there already is not sent again.

    Args:
        store: The run folder.
        sources: The backbone, its setting `weights`, and where they are.

    Raises:
        OSError: If the store refuses.
    """
    folder = store.within(FOLDER)
    there, listing = folder.sizes(), list[TravellingWeights]()
    for backbone, weights, source in sources:
        if source.path is None or source.kind not in ("file", "package"):
            continue
        paths = _files(source.path) if source.path.is_dir() else [source.path]
        files = []
        for path in paths:
            file = TravellingFile(name=path.name, bytes=path.stat().st_size, sha256=_sha256(path))
            files.append(file)
            if there.get(file.stored) != file.bytes:
                folder.upload(path, file.stored)
                there[file.stored] = file.bytes
        listing.append(
            TravellingWeights(
                backbone=backbone,
                weights=weights,
                source=source.description,
                is_folder=source.path.is_dir(),
                files=tuple(files),
            )
        )
    if listing:
        values = {"format": FORMAT, "weights": [dataclasses.asdict(one) for one in listing]}
        folder.write(LISTING, canonical_json(values).encode())


def read_listing(folder: "Store") -> tuple[TravellingWeights, ...]:
    """Return what a run's folder of weights holds; nothing where there is none.

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
    return tuple(_read(one, where=where) for one in values["weights"])


def _read(values: Json, *, where: str) -> TravellingWeights:
    if not isinstance(values, dict) or not isinstance(values.get("files"), list) or not values["files"]:
        raise FormatError(f"{where} is damaged: it has no list of files.")
    files = tuple(from_json(TravellingFile, file, where=where) for file in values["files"])
    for file in files:
        check_types(TravellingFile, dataclasses.asdict(file), where=where)
        if Path(file.name).name != file.name or not file.sha256.isalnum():
            raise FormatError(f"{where} is damaged: {file.name!r} is no name of a file, or has no SHA-256.")
    return from_json(TravellingWeights, {**values, "files": files}, where=where)


def _files(folder: Path) -> list[Path]:
    """Return the files of a model's folder that building it may read."""
    suffixes = (*WEIGHT_SUFFIXES, *_OTHER_SUFFIXES)
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in suffixes)


def _is_whole(path: Path, file: TravellingFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
