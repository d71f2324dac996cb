"""Tables of learning curves as tasks to search: the nearest configuration not yet tried, and its curve."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.spatial import cKDTree

from autoft.space import SearchSpace, Uniform
from autoft.strategies.base import Assignment

WORST_LOSS = 10.0
"""Losses are clipped to it, and a diverged epoch counts as it; a binary classifier at chance has 0.69."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """A searched number of a table."""

    name: str
    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False

    @property
    def step(self) -> float | None:
        """How far apart its values lie in [0, 1]; None: not evenly, or so near that it makes no difference."""
        return 1 / (self.high - self.low) if self.is_whole and not self.is_log else None

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Return where in [0, 1] values lie, on the dimension's own scale."""
        if self.is_log:
            return np.asarray(np.log(values / self.low) / np.log(self.high / self.low))
        return (values - self.low) / (self.high - self.low)


LCBENCH = (
    Dimension(name="batch_size", low=16, high=512, is_log=True, is_whole=True),
    Dimension(name="learning_rate", low=1e-4, high=1e-1, is_log=True),
    Dimension(name="momentum", low=0.1, high=0.99),
    Dimension(name="weight_decay", low=1e-5, high=1e-1),
    Dimension(name="num_layers", low=1, high=5, is_whole=True),
    Dimension(name="max_units", low=64, high=1024, is_log=True, is_whole=True),
    Dimension(name="max_dropout", low=0.0, high=1.0),
)

CARRIERS = (
    "augmentation.brightness",
    "augmentation.contrast",
    "augmentation.saturation",
    "augmentation.grayscale",
    "augmentation.blur",
    "augmentation.erasing",
    "schedule.min_factor",
    "optimizer.weight_decay",
)
"""Settings from 0 to 1 that stand for the dimensions of a table, in order: a strategy reads no more than positions."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CurveTable:
    """A task: configurations in the unit cube, the score of each at every epoch, more is better, and its seconds."""

    name: str
    maximize: bool
    """Whether the metric itself is better when it is more; scores always are."""
    dimensions: tuple[Dimension, ...]
    units: np.ndarray
    scores: np.ndarray
    seconds: np.ndarray
    median: float
    """Of the last scores."""
    tree: cKDTree = field(repr=False)

    @property
    def num_epochs(self) -> int:
        """The length of the curves."""
        return int(self.scores.shape[1])

    def regret(self, score: float) -> float:
        """Return (best - score) / (best - median), in [0, 1]."""
        best = float(self.scores.max())
        return float(np.clip((best - score) / (best - self.median), 0.0, 1.0))

    def take(self, unit_D: np.ndarray, used: set[int]) -> int:
        """Return the row nearest to a point that is not used yet, and mark it as used."""
        for count in (16, 256, len(self.units)):
            for row in self.tree.query(unit_D, count)[1]:
                if int(row) not in used:
                    used.add(int(row))
                    return int(row)
        return int(self.tree.query(unit_D)[1])

    def space(self) -> SearchSpace:
        """Return the space that stands for the table's: see `CARRIERS`."""
        sections: dict[str, Any] = {
            "augmentation": {"name": "jitter"},
            "schedule": {"name": "cosine"},
            "optimizer": {"name": "adamw"},
        }
        for path, one in zip(CARRIERS, self.dimensions, strict=False):
            section, _, setting = path.partition(".")
            sections[section][setting] = Uniform(0.0, 1.0, step=one.step)
        return SearchSpace(task="image-classification", backbone="timm:resnet18", **sections)

    def assignments(self, space: SearchSpace) -> list[dict[str, Any]]:
        """Return the assignments of `space` that stand for the rows."""
        labels = {_bare(parameter.label): parameter for parameter in space.parameters}
        carriers = [labels[path] for path in CARRIERS[: len(self.dimensions)]]
        return [
            {one.label: one.domain.at(float(at)) for one, at in zip(carriers, unit_D, strict=True)}
            for unit_D in self.units
        ]

    def unit(self, assignment: Assignment) -> np.ndarray:
        """Return the point of an assignment of `space`."""
        by_path = {_bare(label): value for label, value in assignment.items()}
        return np.array([by_path[path] for path in CARRIERS[: len(self.dimensions)]])


def read_tables(folder: Path) -> list[CurveTable]:
    """Return the tables of a folder, by name."""
    return [read_table(path) for path in sorted(folder.glob("*.parquet"))]


def read_table(path: Path) -> CurveTable:
    """Return one table: of LCBench if it has accuracies, of TaskSet if it has losses."""
    table = pq.read_table(path)
    columns: dict[str, Any] = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    if "val_accuracy" in columns:
        scores_RE = np.stack(columns["val_accuracy"]).astype(float)
        passed_RE = np.maximum.accumulate(np.stack(columns["seconds"]).astype(float), axis=1)
        seconds_RE = np.maximum(np.diff(passed_RE, axis=1, prepend=0.0), 1e-3)
        last = scores_RE[:, -1]
        dimensions: tuple[Dimension, ...] = LCBENCH
        values = columns
    else:
        losses_RE = np.stack(columns["valid_loss"]).astype(float)
        last = -losses_RE[np.isfinite(losses_RE[:, -1]), -1]
        scores_RE = -np.minimum(np.where(np.isfinite(losses_RE), losses_RE, WORST_LOSS), WORST_LOSS)
        seconds_RE = np.ones_like(losses_RE)
        # TaskSet's betas are searched as 1 - beta, on a logarithmic scale.
        numbers = {name: column for name, column in columns.items() if not name.endswith("_loss")}
        values = {name: 1 - column if name.startswith("beta") else column for name, column in numbers.items()}
        dimensions = tuple(_dimension(name, column) for name, column in values.items())
    units_RD = np.stack([one.unit(values[one.name].astype(float)) for one in dimensions], axis=1)
    return CurveTable(
        name=path.stem,
        maximize="val_accuracy" in columns,
        dimensions=dimensions,
        units=units_RD,
        scores=scores_RE,
        seconds=seconds_RE,
        median=float(np.median(last)),
        tree=cKDTree(units_RD),
    )


def _dimension(name: str, values: np.ndarray) -> Dimension:
    low, high = float(values.min()), float(values.max())
    return Dimension(name=name, low=low, high=high, is_log=low > 0 and high / low > 100)


def _bare(label: str) -> str:
    """Return a label without its branch."""
    head, _, rest = label.partition("[")
    return f"{head}{rest.partition(']')[2]}" if rest else label
