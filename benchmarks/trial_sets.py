"""The rows and recipes that `benchmarks.trial_speed` measures: MiniLM on snippets, EfficientNet-Lite0 on emoji."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from autoft.core.configs import DataSpec, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.data import Dataset, open_dataset, prepare
from benchmarks.experience_sets import SETS, Row

IMAGE_SIZE = 224
MAX_TOKENS = 128
BATCH_SIZES: Mapping[str, int] = {"text": 16, "image": 16}
SMOOTHING: Mapping[str, float] = {"text": 0.0, "image": 0.1}
RATES: Mapping[str, float] = {"text": 5e-5, "image": 3e-4}
DECAYS: Mapping[str, float] = {"text": 0.01, "image": 0.05}
CLIP_NORM = 1.0
WARMUP = 0.1
"""Share of the updates; then the rate falls linearly to zero."""
SETS_OF: Mapping[str, str] = {"text": "movie", "image": "emoji"}
SPACES: Mapping[str, Json] = {
    "text": {
        "task": "text-classification",
        "backbone": {"name": "hf:sentence-transformers/all-MiniLM-L6-v2", "max_length": MAX_TOKENS},
        "augmentation": {"name": "none"},
    },
    "image": {
        "task": "image-classification",
        "backbone": {"name": "timm:tf_efficientnet_lite0", "input_size": IMAGE_SIZE},
        "augmentation": {"name": "flip"},
    },
}


def space_of(kind: str) -> Json:
    """Return the space, of one point, that is trained on `kind`, "text" or "image"."""
    return {
        **SPACES[kind],
        "finetune": {"mode": "full"},
        "optimizer": {"name": "adamw", "lr": RATES[kind], "weight_decay": DECAYS[kind]},
        "schedule": {"name": "linear", "warmup_fraction": WARMUP},
        "loss": {"name": "cross_entropy", "label_smoothing": SMOOTHING[kind]},
        "batch_size": BATCH_SIZES[kind],
        "clip_norm": CLIP_NORM,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A set of rows, cut into three, as files and as autoft keeps it."""

    kind: str
    """"text" or "image"."""
    rows: Mapping[str, list[Row]]
    """Texts or pictures' paths with their labels, by split."""
    tables: Mapping[str, Path]
    labels: tuple[str, ...]
    dataset: Dataset

    def targets(self, split: str) -> list[int]:
        """Return the place of each row's label among `labels`."""
        return [self.labels.index(label) for _, label in self.rows[split]]

    def config(self, *, epochs: int, seed: int = 0, **sections: Any) -> TrialConfig:
        """Return the configuration of one trial; `sections` replace those of the space."""
        task = SPACES[self.kind]["task"]
        given = {name: value for name, value in space_of(self.kind).items() if name != "task"}
        return TrialConfig(
            task=task,
            data={"fingerprint": self.dataset.fingerprint},
            recipe=complete(given | sections, task=task),
            epochs=epochs,
            metrics=("accuracy",),
            seed=seed,
        )


def task_of(kind: str, data: Path, out: Path, *, num_rows: Mapping[str, int]) -> Task:
    """Return the first rows of a set in an order of chance, every class evenly, written as tables into `out`.

    Args:
        kind: "text" or "image".
        data: Folder of the packages; what lacks is fetched.
        out: Gets tables and dataset.
        num_rows: Of train, val and test.
    """
    one = next(one for one in SETS if one.name == SETS_OF[kind])
    by_label: dict[str, list[Row]] = {}
    for row in sorted(set(one.rows(data)), key=lambda row: sha256(Path(row[0]).name.encode()).digest()):
        by_label.setdefault(row[1], []).append(row)
    rows: dict[str, list[Row]] = {}
    for split, count in num_rows.items():
        places = [divmod(place, len(by_label)) for place in range(count)]
        taken = {label: max(index + 1 for index, at in places if at == which) for which, label in enumerate(by_label)}
        rows[split] = [row for label, number in taken.items() for row in by_label[label][:number]]
        by_label = {label: left[taken[label] :] for label, left in by_label.items()}
    out.mkdir(parents=True, exist_ok=True)
    tables = {split: out / f"{split}.csv" for split in rows}
    for split, path in tables.items():
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image" if kind == "image" else "text", "label"))
            writer.writerows(rows[split])
    spec = DataSpec(source=str(tables["train"]), target="label", seed=0)
    prepared = prepare(tables["train"], spec, val=tables["val"], test=tables["test"], out=out)
    return Task(kind=kind, rows=rows, tables=tables, labels=tuple(prepared.labels), dataset=open_dataset(prepared.path))
