"""Simple facts of a data set, by which two are compared."""

import io
import statistics
from collections.abc import Iterator

import numpy as np
from PIL import Image

from autoft.core.errors import DataError
from autoft.core.jsonable import Json
from autoft.data.dataset import Dataset
from autoft.data.pictures import quiet_pillow

SAMPLE = 200
"""Inputs that are looked at, evenly over the training rows: a median needs no more."""


def describe(dataset: Dataset) -> Json:
    """Return `rows`, `classes`, `imbalance`, `input_size` and `text_length` of the training rows.

    `imbalance` is the rows of the largest class over those of the smallest, `input_size` the median of a picture's
    shorter side in pixels, `text_length` the median of a text's characters; what means nothing here is None, and so is
    the size of pictures that lie no longer where they did.
    """
    targets = dataset.targets("train")
    counts = np.bincount(targets, minlength=len(dataset.labels))
    present = counts[counts > 0]
    sizes = _sizes(dataset)
    return {
        "rows": len(targets),
        "classes": len(dataset.labels),
        "imbalance": float(present.max() / present.min()) if len(present) else None,
        "input_size": sizes if dataset.kind == "image" else None,
        "text_length": sizes if dataset.kind == "text" else None,
    }


def _sizes(dataset: Dataset) -> float | None:
    try:
        found = list(_measured(dataset))
    except DataError:
        return None
    return float(statistics.median(found)) if found else None


def _measured(dataset: Dataset) -> Iterator[int]:
    inputs = dataset.inputs("train")
    places = np.unique(np.linspace(0, max(0, len(inputs) - 1), min(SAMPLE, len(inputs))).round().astype(int))
    for place in places.tolist():
        value = inputs[place]
        if isinstance(value, str):
            yield len(value)
        else:
            with quiet_pillow(), Image.open(io.BytesIO(value)) as picture:
                yield min(picture.size)
