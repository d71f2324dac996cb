"""The classes of the readable rows: which there are, which are too rare, which a split has that train lacks."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from autoft.core.configs import DataSpec
from autoft.core.errors import DataError
from autoft.data.rows import Row

_REMEDY = "add rows, or leave such classes out with `--set data.drop_rare=true`"
_FEWEST_CLASSES = 2
_SHOWN = 5


def sorted_naturally(labels: Iterable[str]) -> tuple[str, ...]:
    """Return labels in the order a person expects: numbers by value, "class 2" before "class 10"."""
    distinct = set(labels)
    if all(re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (float(label), label)))
    return tuple(sorted(distinct, key=lambda label: (_natural(label), label)))


def keep_usable_classes(
    rows: Sequence[Row], spec: DataSpec, *, cut: Sequence[str], empty: Sequence[str], where: str
) -> tuple[list[Row], list[str]]:
    """Return the rows whose class can be in every split, and a warning for each class left out.

    Args:
        rows: The readable rows.
        spec: Says whether rare classes are left out, and whether groups must stay whole.
        cut: The splits that are cut from train.
        empty: Class folders without a file.
        where: What messages call the data.

    Raises:
        DataError: If a class is too rare and is not to be left out, a given split has a class that train lacks or
            has no row left, or there are not two classes.
    """
    _refuse_one_class({row.label for row in rows} | set(empty), where)
    needed = 1 + len(cut)
    holders: dict[str, set[str]] = {label: set() for label in empty}
    for number, row in enumerate(rows):
        held = holders.setdefault(row.label, set())
        if row.part == "train":
            held.add(group_of(row) if spec.group else str(number))
    rare = {label: len(held) for label, held in holders.items() if len(held) < needed}
    if rare and not spec.drop_rare:
        _refuse_unseen(rows, rare, where)
        _refuse_rare(rare, needed, spec.group, where, num_left=len(holders) - len(rare))
    kept = [row for row in rows if row.label not in rare]
    _refuse_one_class({row.label for row in kept}, where, f", once those too rare are left out ({listed(rare)})")
    _refuse_emptied(rows, kept, where)
    counts = Counter(row.label for row in rows)
    warnings = [
        f"The class '{label}' is left out: too rare to be in every split ({counts[label]} rows)."
        for label in sorted_naturally(rare)
    ]
    return kept, warnings


def group_of(row: Row) -> str:
    """Return a row's group; rows without one are together only where their content is the same."""
    return f"group {row.group}" if row.group is not None else f"content {row.sha256}"


def _refuse_one_class(labels: set[str], where: str, when: str = "") -> None:
    if len(labels) < _FEWEST_CLASSES:
        found = f"only one class, '{min(labels)}'" if labels else "no class"
        raise DataError(f"{where} has {found}{when}; it takes two or more to learn to tell them apart.")


def _refuse_unseen(rows: Sequence[Row], rare: dict[str, int], where: str) -> None:
    for split in ("val", "test"):
        labels = _labels_of(rows, split)
        unseen = {label for label in labels if rare.get(label) == 0}
        if unseen:
            known = listed(_labels_of(rows, "train"))
            remedy = _REMEDY if labels - unseen else f"spell them as the training data do, which have {known}"
            raise DataError(
                f"The {split} data of {where} have classes that the training data lack: {listed(unseen)}; {remedy}."
            )


def _refuse_emptied(rows: Sequence[Row], kept: Sequence[Row], where: str) -> None:
    """Refuse a given split that has no row left, which only a whole search would show."""
    for split in ("val", "test"):
        labels = _labels_of(rows, split)
        if labels and not _labels_of(kept, split):
            raise DataError(
                f"No row of the {split} data of {where} is left once the classes too rare are left out: they have "
                f"{listed(labels)}, the training data keep {listed(_labels_of(kept, 'train'))}; add {split} rows of "
                "these, and spell them the same."
            )


def _labels_of(rows: Sequence[Row], part: str) -> set[str]:
    return {row.label for row in rows if row.part == part}


def _refuse_rare(rare: dict[str, int], needed: int, group: str | None, where: str, *, num_left: int) -> None:
    named = [f"'{label}' has {rare[label]}" for label in sorted_naturally(rare)]
    shown = ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")
    unit = f"values of group '{group}'" if group else "rows"
    raise DataError(
        f"Classes of {where} are too rare to be in each of train, val and test (at least {needed} {unit} each): "
        f"{shown}; {_REMEDY if num_left >= _FEWEST_CLASSES else 'add rows, until two classes have that many'}."
    )


def listed(labels: Iterable[str]) -> str:
    """Return the first few of some labels, quoted, and how many more there are."""
    named = [f"'{label}'" for label in sorted_naturally(labels)]
    return ", ".join(named[:_SHOWN]) + (f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else "")


def _natural(label: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", label)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces if piece]
