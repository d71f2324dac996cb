"""From what a person gave (a path or an object) to the rows of its parts, whatever its form."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoft.core import catalog
from autoft.core.configs import DataSpec
from autoft.core.errors import DataError, nearest
from autoft.core.paths import local_path
from autoft.data import hugging_face, tables
from autoft.data.columns import choose_columns, part_of
from autoft.data.folders import Folder, read_folder
from autoft.data.rows import Part
from autoft.data.tables import Table


@dataclass(frozen=True, slots=True)
class Given:
    """All rows as they were given, with what had to be found out about them."""

    parts: dict[str, Part]
    """By split; "train" holds what val and test are cut from where they lack."""
    task: str
    target: str | None
    input: str | None
    empty_classes: tuple[str, ...]
    """Class folders without a file."""
    warnings: tuple[str, ...]
    where: str


def read_given(source: Any, spec: DataSpec, *, val: Any = None, test: Any = None) -> Given:
    """Read the names, labels and groups of all rows, and get ready to read their inputs.

    Args:
        source: A path, or an object in memory.
        spec: Task, columns and group, where the person named them.
        val: The person's own validation data, like `source`; None where there are none.
        test: The person's own test data.

    Raises:
        DataError: If it cannot be read, or it is not plain what is meant.
    """
    input_kind = None if spec.task is None else catalog.entry("task", spec.task).facts["input"]
    main = open_source(source, "the data")
    own = {name: open_source(data, name) for name, data in (("val", val), ("test", test)) if data is not None}
    where = describe_source(source, "the data")
    if isinstance(main, Folder):
        return _from_folder(main, own, spec, input_kind, where)
    return _from_tables(main, own, spec, input_kind, where)


def open_source(source: Any, what: str) -> Folder | dict[str, Table]:
    """Open one form of data: a folder of pictures, or tables by the names of their splits ("": no split).

    Raises:
        DataError: If it is missing or of no form that can be read.
    """
    if isinstance(source, str | Path):
        path = existing(source)
        if path.is_dir():
            return hugging_face.read_saved(path) if hugging_face.is_saved_dataset(path) else read_folder(path)
        return {"": tables.read_table(path)}
    where = describe_source(source, what)
    datasets = hugging_face.from_memory(source, where)
    if datasets is not None:
        return datasets
    table = tables.from_memory(source, where)
    if table is None:
        raise DataError(
            f"Data cannot be read from a {type(source).__name__}; give a path, a pandas.DataFrame, a pyarrow.Table or "
            "a Hugging Face dataset."
        )
    return {"": table}


def existing(source: str | Path) -> Path:
    """Return the path of a file or folder that is there.

    Raises:
        DataError: If it is an address, or there is nothing; gives the nearest name beside it.
        ConfigError: If it cannot be the name of a file.
    """
    if not str(source):
        raise DataError("The path of the data is empty.")
    if "://" in str(source):
        raise DataError(f"Data are read from this machine's file system, not from '{source}'; copy them here first.")
    path = local_path(source)
    if path.exists():
        return Path(source).expanduser()
    if path.is_symlink():
        raise DataError(f"'{source}' is a link to '{path.readlink()}', which is not there.")
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(f"There is no file or folder '{source}'.{nearest(path.name, beside)}")


def describe_source(source: Any, what: str) -> str:
    """Return how messages call a source: its path, or `what` it is and its type."""
    if isinstance(source, str | Path):
        return str(source)
    return f"{what} ({'DatasetDict' if isinstance(source, Mapping) else type(source).__name__})"


def _from_folder(
    main: Folder, own: dict[str, Folder | dict[str, Table]], spec: DataSpec, input_kind: str | None, where: str
) -> Given:
    if input_kind == "text":
        raise DataError(f"Task '{spec.task}' needs a table with a column of texts; '{where}' is a folder of pictures.")
    for name, option in ((spec.target, "--target"), (spec.group, "--group"), (spec.input, "--set data.input")):
        if name is not None:
            raise DataError(f"{option} {name} names a column, but '{where}' is a folder of pictures, not a table.")
    parts, warnings = dict(main.parts), list(main.warnings)
    for split, data in own.items():
        _refuse_twice(split, parts, where)
        if not isinstance(data, Folder):
            raise DataError(f"The {split} data are a table, but '{where}' is a folder; give both in one form.")
        if data.has_splits:
            raise DataError(f"The {split} folder holds train and test folders itself; give the folder of its classes.")
        part = data.parts["train"]
        parts[split] = dataclasses.replace(part, names=[f"{split}/{name}" for name in part.names])
    return Given(parts, "image-classification", None, None, main.empty_classes, tuple(warnings), where)


def _from_tables(
    main: dict[str, Table],
    own: dict[str, Folder | dict[str, Table]],
    spec: DataSpec,
    input_kind: str | None,
    where: str,
) -> Given:
    by_split, warnings = hugging_face.by_split(main, where)
    for split, data in own.items():
        _refuse_twice(split, by_split, where)
        if isinstance(data, Folder):
            raise DataError(
                f"The {split} data are a folder of pictures, but {where} is a table; give both in one form."
            )
        if len(data) > 1:
            raise DataError(f"The {split} data hold the splits {', '.join(data)}; give one of them.")
        by_split[split] = next(iter(data.values()))
    columns = choose_columns(by_split["train"], spec, input_kind)
    parts = {
        split: part_of(table, columns, spec.group, "row " if split == "train" else f"{split} row ")
        for split, table in by_split.items()
    }
    _refuse_mixture(parts)
    task = spec.task or ("text-classification" if columns.kind == "text" else "image-classification")
    return Given(parts, task, columns.target, columns.input, (), warnings, where)


def _refuse_twice(split: str, parts: Mapping[str, Any], where: str) -> None:
    if split in parts:
        raise DataError(f"'{where}' has a {split} part of its own, and other {split} data are given; keep one of them.")


def _refuse_mixture(parts: dict[str, Part]) -> None:
    kinds = {split: part.inputs.kind for split, part in parts.items()}
    for split, kind in kinds.items():
        if kind != kinds["train"]:
            raise DataError(f"The training data hold each input as {kinds['train']}, the {split} data as {kind}.")
