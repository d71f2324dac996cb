"""The weights that a run has brought along, on a machine without the path, folder or package: fetched once, checked."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.backbones.listing import FOLDER, TravellingFile, TravellingWeights, is_whole, read_listing
from autoft.backbones.sources import WeightsSource
from autoft.backbones.travelling import require_unchanged
from autoft.core.cache import cache_folder
from autoft.core.errors import FormatError, StorageError, WeightsError
from autoft.core.filelock import Beat
from autoft.core.jsonable import digest

if TYPE_CHECKING:
    from autoft.core.storage import Store


class _Brought:
    """The weights of one run, as a machine that may lack them sees them."""

    def __init__(self, store: "Store", heartbeat: Beat) -> None:
        self._store = store.within(FOLDER)
        self._heartbeat = heartbeat
        self._listing: tuple[TravellingWeights, ...] | None = None

    def listing(self) -> tuple[TravellingWeights, ...]:
        """Return all that the run knows, read once."""
        if self._listing is None:
            self._listing = read_listing(self._store)
        return self._listing

    def named(self, backbone: str, weights: str | None) -> TravellingWeights | None:
        """Return what the run knows of a backbone's weights."""
        return next((one for one in self.listing() if (one.backbone, one.weights) == (backbone, weights)), None)

    def find(self, backbone: str, weights: str | None) -> WeightsSource | None:
        one = self.named(backbone, weights)
        if one is None or not one.travels:
            return None
        path = self._folder(one) if one.is_folder else self._file(one.files[0])
        kind = "package" if weights is None and one.config is None else "file"
        return WeightsSource(kind=kind, path=path, description=one.source)  # type: ignore[arg-type]

    def _folder(self, one: TravellingWeights) -> Path:
        """Return a folder with links to the files, under their own names."""
        folder = cache_folder() / "weights" / digest([dataclasses.asdict(file) for file in one.files])[:24]
        for file in one.files:
            target, link = self._file(file), folder / file.name
            with _kept(file):
                folder.mkdir(parents=True, exist_ok=True)
                if not (link.is_symlink() and link.readlink() == target):
                    made = folder / f".{file.name}.{os.getpid()}"
                    made.unlink(missing_ok=True)
                    made.symlink_to(target)
                    made.replace(link)
        return folder

    def _file(self, file: TravellingFile) -> Path:
        if self._store.is_local:
            path = Path(self._store.path(file.stored))
            if not is_whole(path, file):
                raise FormatError(f"'{path}' of the run's weights is lost or damaged (its SHA-256 differs).")
            return path

        def fetch(path: Path, beat: Beat) -> None:
            try:
                self._store.download(file.stored, path, heartbeat=beat)
            except FileNotFoundError:
                raise FormatError(f"The run has lost '{self._store.path(file.stored)}', of its weights.") from None
            if not is_whole(path, file):
                raise FormatError(f"'{self._store.path(file.stored)}' is damaged (its SHA-256 differs).")

        from autoft.core.shelf import Shelf  # costs more than all else that locating weights needs

        with _kept(file):
            return Shelf().file(
                file.stored,
                fetch,
                is_whole=lambda path: is_whole(path, file),
                num_bytes=file.bytes,
                heartbeat=self._heartbeat,
            )


@contextlib.contextmanager
def _kept(file: TravellingFile) -> Iterator[None]:
    """Say what this machine's disk refuses; a store that fails is another matter."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise WeightsError(
            f"The weights '{file.name}', which travel with the run, cannot be kept on this machine: {error}."
        ) from error


_brought: list[_Brought] = []
"""Where weights are looked for that are not on this machine: the innermost last."""


@contextlib.contextmanager
def weights_of(store: "Store", heartbeat: Beat = lambda: None) -> Iterator[None]:
    """Let backbones that are built inside find weights that are not on this machine in the run in `store`.

    A backbone that is named by a folder of this machine must find it as it was when the run was laid.

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


def as_laid(backbone: str, folder: Path) -> None:
    """Find that a folder which names a backbone is the one that the run was laid with, if a run is looked into.

    Raises:
        FormatError: If the run's listing is damaged.
        WeightsError: If it is another.
    """
    one = _brought[-1].named(backbone, None) if _brought else None
    if one is not None:
        require_unchanged(one, folder)


def learn() -> None:
    """Let the catalog know the backbones that are named by folders as the run in question does, if there is one.

    Raises:
        FormatError: If the run's listing is damaged.
    """
    if _brought:
        _brought[-1].listing()
