"""Labelled data for a model that is trained already: its labels are given, nothing is split."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from autoft.core.errors import DataError
from autoft.data.columns import model_columns, part_of
from autoft.data.folders import Folder
from autoft.data.labels import listed
from autoft.data.rows import Part
from autoft.data.sifting import sift, summary_of
from autoft.data.source import describe_source, open_source
from autoft.data.unlabelled import LazyInputs, Place


def read_evaluation_data(
    data: Any,
    *,
    kind: str,
    labels: Sequence[str],
    column: str | None = None,
    target: str | None = None,
    trained_target: str | None = None,
) -> tuple[LazyInputs, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the usable inputs of labelled data, read on demand, and their places in `labels`.

    Rows that cannot be used are left out with a warning, as in a search.

    Args:
        data: Data of any form, without splits.
        kind: What the model takes: "image" or "text".
        labels: The model's labels.
        column: Column that the model was trained on, for tables; taken where it is there.
        target: Column with the labels that the person names, for tables; None: `trained_target`.
        trained_target: Column with the labels of the training, for tables; None: found by its name.

    Raises:
        DataError: If the data cannot be read, have no such column, or have labels that the model does not know.
    """
    where = describe_source(data, "the data")
    part = _only_part(data, where, kind, column=column, target=target, trained_target=trained_target)
    sifted = sift({"train": part}, where)
    places = {label: place for place, label in enumerate(labels)}
    unknown = {row.label for row in sifted.rows} - set(places)
    if unknown:
        raise DataError(
            f"{where} has labels that the model does not know: {listed(unknown)}. It knows {listed(labels)}."
        )
    if sifted.quarantine:
        sentence = (
            f"{len(sifted.quarantine):,} rows of {where} are left out: {'; '.join(summary_of(sifted.quarantine))}"
        )
        warnings.warn(sentence, stacklevel=2)
    inputs = LazyInputs([Place(row.name, part.inputs, row.index) for row in sifted.rows])
    return inputs, np.asarray([places[row.label] for row in sifted.rows], dtype=np.int64)


def _only_part(
    data: Any, where: str, kind: str, *, column: str | None, target: str | None, trained_target: str | None
) -> Part:
    opened = open_source(data, "the data")
    names = list(opened.parts) if isinstance(opened, Folder) else list(opened)
    if len(names) > 1 or (isinstance(opened, Folder) and opened.has_splits):
        raise DataError(f"{where} has the splits {', '.join(names)}; give one of them to evaluate on.")
    if isinstance(opened, Folder):
        if kind == "text":
            raise DataError(f"The model takes texts; '{where}' is a folder of pictures.")
        if target is not None:
            raise DataError(f"--target {target} names a column, but '{where}' is a folder of pictures, not a table.")
        return opened.parts["train"]
    table = opened[names[0]]
    columns = model_columns(table, kind, column=column, target=target or trained_target, needs_target=True)
    return part_of(table, columns, None, "row ")
