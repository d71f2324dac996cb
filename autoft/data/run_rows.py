"""The rows of a run: one file in its folder where that is local or shared, parts where it lies in a remote store."""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from autoft.core.errors import DataError, FormatError
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data.dataset import FILE_NAME, Dataset, open_dataset
from autoft.data.describing import describe
from autoft.data.packing import packed_batches, packed_schema
from autoft.data.stored import Progress, StoredRows

FOLDER = "data"


@dataclass(frozen=True, slots=True)
class RunRows:
    """Where the rows of a run lie; travels to its workers."""

    store: Store
    """The run folder."""
    fingerprint: str
    """Of the rows."""

    def open(self, heartbeat: Beat = lambda: None) -> Dataset:
        """Return the rows, mapped: in the run folder where it is local or shared, else fetched once a machine.

        Args:
            heartbeat: Called while they are fetched, waited for, or checked.

        Raises:
            DataError: If the run folder is on a disk that this machine does not see.
            FormatError: If the run has lost them, they are damaged, or they are another search's.
        """
        return self._here() if self._is_file else self._stored.open(heartbeat)

    def check(self) -> None:
        """Find that they are there, without fetching them.

        Raises:
            FormatError: If the run has lost them, they are damaged, or they are another search's.
        """
        if not self.fingerprint.isalnum():
            raise FormatError(f"The fingerprint in {self.store.path('search.yaml')} is none: {self.fingerprint!r}.")
        if not self._is_file:
            self._stored.check()
        elif not self._path.exists():
            raise FormatError(f"The run '{self.store.path()}' has lost {FOLDER}/{FILE_NAME}, its rows and split.")
        elif self._here().fingerprint != self.fingerprint:
            raise FormatError(f"'{self._path}' holds other rows than the search began with (its fingerprint differs).")

    def describe(self) -> Json | None:
        """Return what `autoft.data.describe` says of the rows, without fetching them; None where there are none."""
        try:
            return describe(self._here()) if self._is_file else self._stored.listing().facts
        except (DataError, FormatError):
            return None

    def place(self, prepared: Path, *, contents: bool = False, progress: Progress | None = None) -> None:
        """Put the rows that `prepare` wrote into the run, none of it read whole into memory.

        In a remote store pictures lie by their content; an upload that was cut goes on with the parts that lack.

        Args:
            prepared: The file; moved where the run folder is local.
            contents: Whether pictures lie by their content in a local folder, too.
            progress: Called while pictures are read and parts are uploaded.

        Raises:
            DataError: If a picture's file is gone or holds something else than it did; nothing is left then.
            OSError: If the disk or the store refuses.
        """
        try:
            if self.store.is_local:
                self._place_here(prepared, contents=contents, progress=progress)
                return
            for name in self.store.list(FOLDER):
                if name != self.fingerprint:  # a killed search's
                    self.store.delete(f"{FOLDER}/{name}")
            self._stored.upload(open_dataset(prepared), progress)
        except DataError:
            self.store.delete(FOLDER)
            raise

    @property
    def _is_file(self) -> bool:
        """Whether they are one file: in a local folder, but where the run was fetched from a remote store."""
        return self.store.is_local and not Path(self.store.path(f"{FOLDER}/{self.fingerprint}")).is_dir()

    @property
    def _path(self) -> Path:
        return Path(self.store.path(f"{FOLDER}/{FILE_NAME}"))

    @property
    def _stored(self) -> StoredRows:
        return StoredRows(self.store.within(f"{FOLDER}/{self.fingerprint}"), self.fingerprint)

    def _here(self) -> Dataset:
        if not self._path.exists():
            raise DataError(
                f"There is no '{self._path}' on {platform.node()}; the run folder must be on a disk that every machine "
                "of the search sees, or in a store such as s3://bucket/run."
            )
        return open_dataset(self._path)

    def _place_here(self, prepared: Path, *, contents: bool, progress: Progress | None) -> None:
        target = self._path
        target.parent.mkdir(parents=True, exist_ok=True)
        for old in target.parent.glob(f"{target.stem}.*.partial"):
            old.unlink(missing_ok=True)  # a killed search's
        partial = target.with_suffix(f".{os.getpid()}.partial")  # what is cut off is never taken for the whole
        if contents:
            _pack(open_dataset(prepared), partial, progress)
            prepared.unlink()
        else:
            shutil.move(prepared, partial)
        partial.replace(target)


def _pack(dataset: Dataset, path: Path, progress: Progress | None) -> None:
    """Write all rows to a file, pictures by their content."""
    total, num_rows = sum(dataset.facts["num_rows"].values()), 0
    schema = packed_schema(dataset)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in packed_batches(dataset):
            writer.write_batch(batch)
            num_rows += batch.num_rows
            if progress is not None:
                progress(num_rows, total)
