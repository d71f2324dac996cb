"""Data as they are given, to one dataset file: read, sifted, split, fingerprinted."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from autoft.core.configs import SPLITS, DataSpec
from autoft.core.errors import DataError
from autoft.data.dataset import fingerprint_of, write_dataset
from autoft.data.labels import group_of, keep_usable_classes, sorted_naturally
from autoft.data.rows import Quarantined, Row
from autoft.data.sifting import Progress, sift, summary_of
from autoft.data.source import Given, read_given
from autoft.data.splitting import split_groups, split_rows

IMBALANCE = 5
"""The largest class is so many times the smallest, or more: said, with the metric to take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A dataset that is ready, and what a person should know about it."""

    path: Path
    """`dataset.arrow`."""
    task: str
    fingerprint: str
    """SHA-256 of the content, labels and split."""
    labels: tuple[str, ...]
    num_rows: dict[str, int]
    """By split."""
    warnings: tuple[str, ...]
    """Sentences."""
    quarantine: tuple[Quarantined, ...]
    """The rows set aside."""
    spec: DataSpec
    """As given, with task, target and input found out."""
    given: tuple[str, ...]
    """The splits that were given, not cut."""

    def describe(self) -> list[str]:
        """Return lines for the terminal: what was read, how it is split, what was set aside."""
        total = sum(self.num_rows.values())
        shown = ", ".join(" ".join(label.split()) for label in self.labels[:8]) + (
            ", ..." if len(self.labels) > 8 else ""
        )
        lines = [f"{self.task}: {total:,} rows, {len(self.labels)} classes ({shown})"]
        if self.spec.input is not None:
            lines.append(f"input column '{self.spec.input}', target column '{self.spec.target}'")
        cut = [split for split in ("val", "test") if split not in self.given]
        how = "as given"
        if cut:
            by = f", whole by '{self.spec.group}'" if self.spec.group else ""
            how = f"{' and '.join(cut)} cut from train by seed {self.spec.seed}, stratified{by}"
        lines.append(", ".join(f"{split} {self.num_rows[split]:,}" for split in SPLITS) + f"; {how}")
        if self.quarantine:
            lines.append(f"{len(self.quarantine):,} rows set aside: {'; '.join(summary_of(self.quarantine))}")
        return lines


def prepare(
    source: Any, spec: DataSpec, *, out: Path, val: Any = None, test: Any = None, progress: Progress | None = None
) -> Prepared:
    """Read data of any form, set unusable rows aside, split the rest, and write `out/dataset.arrow`.

    Args:
        source: A path, or a pandas.DataFrame, pyarrow.Table or Hugging Face dataset in memory.
        spec: How the data are read and split.
        out: Folder of the dataset file; nothing is written before all is right.
        val: The person's own validation data, like `source`; None: `spec.val`.
        test: The person's own test data; None: `spec.test`.
        progress: Called with the rows read and the rows in all.

    Raises:
        DataError: If the data cannot be used as they are; says what is wrong and what to do.
        WorkError: If the file cannot be written.
    """
    val = spec.val if val is None else val
    test = spec.test if test is None else test
    given = read_given(source, spec, val=val, test=test)
    sifted = sift(given.parts, given.where, progress)
    cut = [split for split in ("val", "test") if split not in given.parts]
    rows, left_out = keep_usable_classes(sifted.rows, spec, cut=cut, empty=given.empty_classes, where=given.where)
    _assign(rows, cut, spec, given.where)
    labels = sorted_naturally(row.label for row in rows)
    fingerprint = fingerprint_of(rows, labels)
    num_rows = {split: sum(row.split == split for row in rows) for split in SPLITS}
    facts = {"task": given.task, "labels": list(labels), "fingerprint": fingerprint, "num_rows": num_rows}
    warnings = (*given.warnings, *left_out, *_warnings(rows))
    path = write_dataset(Path(out), rows, given.parts, facts)
    return Prepared(
        path=path,
        task=given.task,
        fingerprint=fingerprint,
        labels=labels,
        num_rows=num_rows,
        warnings=warnings,
        quarantine=sifted.quarantine,
        spec=_resolved(spec, given, source, val, test),
        given=tuple(given.parts),
    )


def _assign(rows: Sequence[Row], cut: Sequence[str], spec: DataSpec, where: str) -> None:
    """Give every row its split: the one it was given in, or for training rows one of train and `cut`.

    Raises:
        DataError: If whole groups cannot bring every class into every split.
    """
    for row in rows:
        row.split = row.part
    if not cut:
        return
    shares = {"val": Fraction(str(spec.val_fraction)), "test": Fraction(str(spec.test_fraction))}
    fractions = {"train": 1 - sum((shares[split] for split in cut), Fraction(0))}
    fractions.update({split: shares[split] for split in cut})
    mine = [row for row in rows if row.part == "train"]
    labels = [row.label for row in mine]
    if spec.group is None:
        assigned = split_rows(labels, [row.sha256 for row in mine], fractions, spec.seed)
    else:
        assigned = split_groups(labels, [group_of(row) for row in mine], fractions, spec.seed)
    for row, split in zip(mine, assigned, strict=True):
        row.split = split
    present = {(row.label, row.split) for row in mine}
    for label in sorted(set(labels)):
        lacking = [split for split in fractions if (label, split) not in present]
        if lacking:
            raise DataError(
                f"No split into whole groups by '{spec.group}' was found that brings the class '{label}' of {where} "
                f"into each of {', '.join(fractions)}: {' and '.join(lacking)} would lack it. Give val and test data "
                "of your own."
            )


def _warnings(rows: Sequence[Row]) -> list[str]:
    return [*_duplicates(rows), *_shared_groups(rows), *_absent(rows), *_imbalance(rows)]


def _duplicates(rows: Sequence[Row]) -> list[str]:
    by_content: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_content[row.sha256].append(row)
    across = [same for same in by_content.values() if len({row.split for row in same}) > 1]
    if not across:
        return []
    first = across[0][0]
    other = next(row for row in across[0] if row.split != first.split)
    count = sum(len(same) for same in across)
    sentence = (
        f"{count:,} rows are exact duplicates across splits (for example '{first.name}' in {first.split} and "
        f"'{other.name}' in {other.split}): the figures will look better than they are."
    )
    return [sentence]


def _shared_groups(rows: Sequence[Row]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group is not None:
            splits[row.group].add(row.split)
    shared = sorted(group for group, where in splits.items() if len(where) > 1)
    if not shared:
        return []
    return [f"{len(shared):,} groups are in more than one of the given splits (for example '{shared[0]}')."]


def _absent(rows: Sequence[Row]) -> list[str]:
    labels = {row.label for row in rows}
    warnings = []
    for split in ("val", "test"):
        absent = sorted_naturally(labels - {row.label for row in rows if row.split == split})
        if absent:
            warnings.append(f"The {split} data have no row of {', '.join(map(repr, absent[:5]))}.")
    return warnings


def _imbalance(rows: Sequence[Row]) -> list[str]:
    counts = Counter(row.label for row in rows if row.split == "train")
    (largest, most), (smallest, fewest) = counts.most_common()[0], counts.most_common()[-1]
    if most < IMBALANCE * fewest:
        return []
    sentence = (
        f"Strong imbalance: '{largest}' has {most:,} training rows, '{smallest}' {fewest:,}; "
        "take `--metric balanced_accuracy`, which counts each class the same."
    )
    return [sentence]


def _resolved(spec: DataSpec, given: Given, source: Any, val: Any, test: Any) -> DataSpec:
    def path(data: Any) -> str | None:
        return str(data) if isinstance(data, str | Path) else None

    return dataclasses.replace(
        spec,
        source=spec.source or path(source),
        val=spec.val or path(val),
        test=spec.test or path(test),
        task=given.task,
        target=given.target,
        input=given.input,
    )
