"""Folders of class folders, with `train/`, `val/`, `test/` above them or without."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoft.core.errors import DataError
from autoft.data.pictures import is_picture_name
from autoft.data.rows import Part, PathInputs

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the three splits, in lower case."""

TABLE_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies in a folder of pictures."""

    parts: dict[str, Part]
    """By split; "train" alone where the folder has no split folders."""
    has_splits: bool
    empty_classes: tuple[str, ...]
    warnings: tuple[str, ...]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is the system's, not the person's (.DS_Store, Thumbs.db, ...)."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def read_folder(root: Path) -> Folder:
    """List the pictures of a folder of class folders; opens none of them.

    Raises:
        DataError: If the folder is empty, has no class folders, or names one split twice.
    """
    folders, files = _listing(root)
    if not folders and not files:
        raise DataError(f"The folder '{root}' is empty; put one folder for each class into it, with its pictures.")
    splits = _split_folders(root, folders)
    if not splits:
        _refuse_without_classes(root, folders, files)
        _refuse_splits_for_classes(root, folders)
        _refuse_wrapped(root, folders)
        part, empty = _read_classes(root, root)
        return Folder({"train": part}, False, empty, ())
    parts, empty_classes = {}, []
    for split, folder in splits.items():
        classes, loose = _listing(folder)
        _refuse_without_classes(folder, classes, loose)
        parts[split], empty = _read_classes(folder, root)
        empty_classes += [name for name in empty if split == "train"]
    others = sorted(folder.name for folder in folders if folder not in splits.values())
    warnings = [f"The folder '{name}' beside '{splits['train'].name}' is not read." for name in others]
    return Folder(parts, True, tuple(empty_classes), tuple(warnings))


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, hidden ones left out, links followed once, and none that leads back above."""
    seen = {str(above) for above in Path(os.path.realpath(folder)).parents}
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(place) / name for name in sorted(files) if not is_hidden(name))


def spelled(text: str) -> str:
    """Return a file name that may not be UTF-8, or a text that names one, in a form that can be written down."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _listing(root: Path) -> tuple[list[Path], list[Path]]:
    try:
        entries = sorted(entry for entry in root.iterdir() if not is_hidden(entry.name))
    except OSError as error:
        raise DataError(f"The folder '{root}' cannot be read: {error.strerror}.") from error
    folders = [entry for entry in entries if entry.is_dir()]
    return folders, [entry for entry in entries if not entry.is_dir()]


def _split_folders(root: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Return the split folders, train first; none where the folders are classes.

    A class may be called "train" (beside "boat"), so the folders are splits only if one is a training folder that
    holds folders itself.
    """
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None:
            continue
        if split in splits:
            raise DataError(
                f"'{root}' has two {split} folders, '{splits[split].name}' and '{folder.name}'; keep one of them."
            )
        splits[split] = folder
    if "train" in splits and _listing(splits["train"])[0]:
        return {split: splits[split] for split in ("train", "val", "test") if split in splits}
    return {}


def _refuse_splits_for_classes(root: Path, folders: list[Path]) -> None:
    """Refuse folders that are called like splits one and all, and are none: nobody has classes of these names."""
    splits = {SPLIT_NAMES.get(folder.name.lower()): folder for folder in folders}
    if None in splits:
        return
    if "train" in splits:
        _refuse_without_classes(splits["train"], *_listing(splits["train"]))
    named = " and ".join(f"'{folder.name}'" for folder in folders)
    raise DataError(
        f"The folder '{root}' has {named}, but no 'train'; add the training data, or give one of them alone, if its "
        "folders are the classes."
    )


def _refuse_wrapped(root: Path, folders: list[Path]) -> None:
    """Refuse a folder around the folder of classes, as archives often have it."""
    if len(folders) == 1:
        inner, files = _listing(folders[0])
        if len(inner) > 1 and not files:
            raise DataError(
                f"The folder '{root}' has only one class, '{folders[0].name}'; if the folders in that are the classes, "
                f"give '{folders[0]}'."
            )


def _refuse_without_classes(root: Path, folders: list[Path], files: list[Path]) -> None:
    if folders:
        return
    tables = [file.name for file in files if file.name.lower().endswith(TABLE_ENDINGS)]
    if tables:
        raise DataError(f"'{root}' has no class folders, but tables: pass one of them ('{root / tables[0]}').")
    if not files:
        raise DataError(f"The folder '{root}' is empty; put one folder for each class into it, with its pictures.")
    raise DataError(
        f"The folder '{root}' has {len(files)} file{'s' * (len(files) > 1)} but no class folders; put the pictures of "
        "each class into a folder with the class's name, or pass a table with a column of paths and one of labels."
    )


def _read_classes(folder: Path, root: Path) -> tuple[Part, tuple[str, ...]]:
    """Return the files of a folder's class folders, in the order of their paths, and the classes without a file.

    A loose picture beside the class folders is a row without a label; other loose files are not data.
    """
    classes, loose = _listing(folder)
    found: list[tuple[str, Path, str | None]] = []
    empty = []
    for label in classes:
        files = list(walk_files(label))
        found += [(file.relative_to(root).as_posix(), file.absolute(), spelled(label.name)) for file in files]
        if not files:
            empty.append(spelled(label.name))
    found += [
        (file.relative_to(root).as_posix(), file.absolute(), None) for file in loose if is_picture_name(file.name)
    ]
    found.sort(key=lambda one: one[0])
    names = [spelled(name) for name, _, _ in found]
    part = Part(
        names,
        PathInputs([path for _, path, _ in found]),
        [label for _, _, label in found],
        no_label="it lies in no class folder",
    )
    return part, tuple(empty)
