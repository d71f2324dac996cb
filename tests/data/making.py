"""Small pictures, folders and tables for the tests of data."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from autoft.core.configs import DataSpec
from autoft.data import Prepared, prepare


def picture(seed: int, kind: str = "PNG", side: int = 6) -> bytes:
    """Return the bytes of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def class_folders(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """Write `counts` distinct pictures into class folders of `root`."""
    for number, (label, count) in enumerate(counts.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / label / f"{index:03d}.png").write_bytes(picture(first + 1000 * number + index))
    return root


def texts(counts: dict[str, int]) -> pd.DataFrame:
    """Return a table of distinct texts."""
    rows = [(f"{label} text {index}", label) for label, count in counts.items() for index in range(count)]
    return pd.DataFrame(rows, columns=["text", "label"])


def prepared(source: object, out: Path, *, val: object = None, test: object = None, **options: object) -> Prepared:
    """Prepare data with a spec of these options."""
    path = str(source) if isinstance(source, str | Path) else None
    return prepare(source, DataSpec(source=path, **options), out=out, val=val, test=test)
