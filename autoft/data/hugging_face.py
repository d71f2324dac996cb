"""Hugging Face datasets, on disk or in memory, read without the `datasets` library."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from autoft.core.errors import DataError
from autoft.data.folders import SPLIT_NAMES
from autoft.data.tables import Table, class_labels, finished


def is_saved_dataset(folder: Path) -> bool:
    """Return whether `datasets` saved a Dataset or DatasetDict in this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def read_saved(folder: Path) -> dict[str, Table]:
    """Return the tables of a saved dataset by the names of its splits; one without splits is called "".

    The files are mapped into memory, not read.

    Raises:
        DataError: If a file that it names is missing or damaged.
    """
    if not (folder / "dataset_dict.json").is_file():
        return {"": _read_one(folder)}
    names = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(names, list) or not names:
        raise DataError(f"'{folder / 'dataset_dict.json'}' names no splits.")
    return {str(name): _read_one(folder / str(name)) for name in names}


def from_memory(data: Any, where: str) -> dict[str, Table] | None:
    """Return the tables of a `datasets.Dataset` or `DatasetDict`, or None if the object is neither.

    Raises:
        DataError: If the dataset is a stream, which has no end to split.
    """
    if isinstance(data, Mapping):
        if not data or not all(_is_dataset(one) for one in data.values()):
            return None
        return {str(name): _from_dataset(one, f"{where}['{name}']") for name, one in data.items()}
    return {"": _from_dataset(data, where)} if _is_dataset(data) else None


def by_split(tables: dict[str, Table], where: str) -> tuple[dict[str, Table], tuple[str, ...]]:
    """Return the tables by train, val and test, and a warning for each split that is none of them.

    Raises:
        DataError: If no split is for training, or two have one meaning.
    """
    if len(tables) == 1:
        return {"train": next(iter(tables.values()))}, ()
    found: dict[str, Table] = {}
    warnings = []
    for name, table in tables.items():
        split = SPLIT_NAMES.get(name.lower())
        if split is None:
            warnings.append(f"The split '{name}' of {where} is not read: it is neither train, validation nor test.")
        elif split in found:
            raise DataError(f"{where} has two splits for {split}; keep one of them.")
        else:
            found[split] = table
    if "train" not in found:
        raise DataError(f"{where} has no split 'train', only {', '.join(map(repr, tables))}.")
    return {split: found[split] for split in ("train", "val", "test") if split in found}, tuple(warnings)


def _is_dataset(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "datasets" and hasattr(data, "features")


def _from_dataset(data: Any, where: str) -> Table:
    if not hasattr(data, "__len__"):
        raise DataError(f"{where} is a streaming dataset; load it whole (`streaming=False`), so that it can be split.")
    if not len(data):
        raise DataError(f"{where} has no rows.")
    features = data.features.to_dict() if data.features is not None else {}
    return finished(data.with_format("arrow")[:], where, Path.cwd(), class_names=class_labels(features))


def _read_one(folder: Path) -> Table:
    state = _json(folder / "state.json")
    content = _read_files(folder, state.get("_data_files"))
    indices = state.get("_indices_data_files")
    if indices:
        content = content.take(_read_files(folder, indices).column(0))
    info = folder / "dataset_info.json"
    names = class_labels(_json(info).get("features")) if info.is_file() else None
    return finished(content, str(folder), folder.absolute(), class_names=names)


def _read_files(folder: Path, listed: Any) -> pa.Table:
    try:
        names = [entry["filename"] for entry in listed]
    except (TypeError, KeyError) as error:
        raise DataError(f"'{folder / 'state.json'}' names no data files.") from error
    tables = []
    for name in names:
        try:
            tables.append(_read_stream(folder / name))
        except FileNotFoundError as error:
            raise DataError(f"The dataset '{folder}' is incomplete: there is no '{name}' in it.") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"'{folder / name}' is damaged or no Arrow file: {error}") from error
    if not tables:
        raise DataError(f"The dataset '{folder}' has no rows.")
    return pa.concat_tables(tables)


def _read_stream(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no '{path.name}' in the dataset '{path.parent}'.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise DataError(f"'{path}' is no file of a saved dataset.")
    return values
