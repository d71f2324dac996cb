"""Whether what lies in a run folder is what was written: every hash there is, checked without torch.

Nothing is unpickled: JSON, YAML's safe loader, Arrow, and the header of safetensors.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.core.configs import SearchConfig
from autoft.core.errors import FormatError
from autoft.core.storage import Store
from autoft.core.tensorfile import read_about

if TYPE_CHECKING:
    from autoft.data import Dataset

CHUNK_BYTES = 8 * 2**20
SLOTS = ("best", "last", "former")
_BUNDLE = ("model.safetensors", "preprocessing.json", "labels.json", "metrics.json")
_MARK = b"\nfiles:\n"
"""Where config.yaml's own text ends and the hashes of the bundle's files begin."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            state.update(piece)
    return state.hexdigest()


def problems_of_data(folder: Path, search: SearchConfig) -> Iterator[str]:
    """Yield what is wrong with the rows of a run: one sentence a file."""
    from autoft.data import RunRows, open_dataset
    from autoft.data.stored import StoredRows

    store = Store.open(folder)
    try:
        RunRows(store, search.fingerprint).check()
    except FormatError as error:
        yield str(error)
        return
    rows = folder / "data" / search.fingerprint
    if not rows.is_dir():
        yield from _problems_of_rows(open_dataset(folder / "data" / "dataset.arrow"))
    else:
        for part in StoredRows(Store.open(rows), search.fingerprint).listing().parts:
            if sha256_of(rows / part.name) != part.sha256:
                yield _changed(f"data/{search.fingerprint}/{part.name}")


def _problems_of_rows(dataset: "Dataset") -> Iterator[str]:
    """Yield that a row holds something else than its hash says; pictures that lie elsewhere are not looked at."""
    if dataset.input_kind == "path":
        return
    for batch in dataset.batches():
        for row, value, sha256 in zip(batch["row"], batch.column(1), batch["sha256"], strict=True):
            content = value.as_py()
            content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
            if hashlib.sha256(content).hexdigest() != sha256.as_py():
                yield f"data/dataset.arrow is damaged: '{row.as_py()}' is not as it was written (its SHA-256 differs)."
                return


def problems_of_weights(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the weights that travel with a run, each in a file that is named by its hash.

    Of a model's folder that does not travel the listing has the hashes alone.
    """
    listing = folder / "weights" / "weights.json"
    if not listing.is_file():
        return
    try:
        travelling = [one for one in json.loads(listing.read_bytes())["weights"] if one.get("travels") is not False]
        entries = [file for one in travelling for file in one["files"]]
        names = {f"{file['sha256']}{Path(file['name']).suffix}": str(file["sha256"]) for file in entries}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield "weights/weights.json is damaged: it names no files."
        return
    for name, sha256 in names.items():
        path = folder / "weights" / name
        if Path(name).name != name:
            yield f"weights/weights.json is damaged: it names a file '{name}'."
        elif not path.is_file():
            yield f"weights/{name} is missing."
        elif sha256_of(path) != sha256:
            yield _changed(f"weights/{name}")


def problems_of_experience(folder: Path, search: SearchConfig) -> Iterator[str]:
    """Yield what is wrong with what the search of a run learns from."""
    if search.experience is None:
        return
    path = folder / "experience.parquet"
    if not path.is_file():
        yield "experience.parquet is missing."
    elif sha256_of(path) != search.experience:
        yield _changed("experience.parquet")


def problems_of_checkpoint(folder: Path, name: str) -> Iterator[str]:
    """Yield what is wrong with the checkpoints of one trial, which lie in `folder`."""
    for slot in SLOTS:
        path = folder / f"{slot}.safetensors"
        if path.is_file():
            with path.open("rb") as file:
                if read_about(file) is None:
                    yield _changed(f"{name}/{path.name}")


def problems_of_bundle(folder: Path) -> Iterator[str]:
    """Yield what is wrong with a bundle; nothing where there is none yet."""
    config = folder / "config.yaml"
    if not config.is_file():
        return
    own, found, tail = config.read_bytes().rpartition(_MARK)
    lines = [line.strip().partition(": ") for line in tail.decode("utf-8", "replace").splitlines()]
    hashes: Mapping[str, str] = {name: value for name, _, value in lines if value}
    if not found or hashes.get("config.yaml") != hashlib.sha256(own + _MARK[:1]).hexdigest():
        yield _changed("best/config.yaml")
        return
    for name in _BUNDLE:
        if not (folder / name).is_file():
            yield f"best/{name} is missing."
        elif sha256_of(folder / name) != hashes.get(name):
            yield _changed(f"best/{name}")


def _changed(name: str) -> str:
    return f"{name} is not as it was written (its SHA-256 differs)."
