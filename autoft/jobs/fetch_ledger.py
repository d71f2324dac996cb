"""What was fetched into a folder before: each file of the run as it came, with its hash."""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autoft.core.errors import ConfigError
from autoft.core.storage import Store

LEDGER = ".fetched.jsonl"
"""In the folder that was fetched into: where the run came from, then each file with its hash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file as it lies in the storage, or as it came from there."""

    name: str
    bytes: int
    changed: int
    """When, in nanoseconds since 1970."""
    sha256: str = ""


@dataclass(slots=True)
class FetchLedger:
    """What was fetched into a folder, a line a file; a line that is torn counts for nothing."""

    path: Path
    files: dict[str, StoredFile] = field(default_factory=dict)

    @classmethod
    def open(cls, target: Path, source: Store, run: str) -> "FetchLedger":
        """Read what was fetched into `target` before.

        Raises:
            ConfigError: If it holds something that was not fetched from there.
        """
        path = target / LEDGER
        if not path.is_file():
            if target.is_symlink() or (target.exists() and not target.is_dir()):
                raise ConfigError(f"The folder '{target}' to fetch into is a file or a link; give a new folder.")
            there = target.iterdir() if target.is_dir() else ()
            if any(not entry.name.startswith(".") for entry in there):
                raise ConfigError(f"The folder '{target}' to fetch into is not empty; give a new one.")
            return cls(path)
        ledger = cls(path)
        first, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        origin = None
        with contextlib.suppress(ValueError, AttributeError):
            origin = json.loads(first).get("run")
        if origin != source.path():
            raise ConfigError(f"The folder '{target}' holds the run of '{origin}', not of '{run}'; give a new one.")
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                values = json.loads(line)
                if "removed" in values:
                    ledger.files.pop(values["removed"], None)
                else:
                    ledger.files[values["name"]] = StoredFile(**values)
        return ledger

    def begin(self, source: Store) -> None:
        """Write it anew, with what still counts."""
        lines = [json.dumps({"run": source.path()}), *(json.dumps(asdict(file)) for file in self.files.values())]
        partial = self.path.with_suffix(".part")
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        partial.replace(self.path)

    def add(self, file: StoredFile) -> None:
        """Note a file that has come."""
        self.files[file.name] = file
        self._append(asdict(file))

    def remove(self, name: str) -> None:
        """Note that a file is gone."""
        if self.files.pop(name, None) is not None:
            self._append({"removed": name})

    def _append(self, values: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(values)}\n")
