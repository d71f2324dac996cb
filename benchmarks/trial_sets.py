"""The rows and recipes that `benchmarks.trial_speed` measures: MiniLM on snippets, EfficientNet-Lite0 on emoji."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from autoft.core.configs import SPLITS, DataSpec, TrialConfig
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
    """A set of rows, cut into three, as they are and as autoft keeps them."""

    kind: str
    """"text" or "image"."""
    rows: Mapping[str, list[Row]]
    """Texts or pictures' paths with their labels, by split."""
    dataset: Dataset

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes."""
        return self.dataset.labels

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


def make_task(kind: str, data: Path, out: Path, *, num_rows: Mapping[str, int]) -> Task:
    """Write rows of a set, in an order that their content decides, every class evenly, into `out`, and open them.

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
    out.mkdir(parents=True, exist_ok=True)
    tables = tables_in(out)
    for split, path in tables.items():
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image" if kind == "image" else "text", "label"))
            for label in sorted(by_label):
                each = num_rows[split] // len(by_label)
                writer.writerows(by_label[label][:each])
                del by_label[label][:each]
    spec = DataSpec(source=str(tables["train"]), target="label", seed=0)
    prepare(tables["train"], spec, val=tables["val"], test=tables["test"], out=out)
    return open_task(kind, out)


def open_task(kind: str, folder: Path) -> Task:
    """Open what `make_task` wrote."""
    rows: dict[str, list[Row]] = {}
    for split, path in tables_in(folder).items():
        with path.open(encoding="utf-8", newline="") as file:
            rows[split] = [(row[0], row[1]) for row in list(csv.reader(file))[1:]]
    return Task(kind=kind, rows=rows, dataset=open_dataset(folder / "dataset.arrow"))


def tables_in(folder: Path) -> dict[str, Path]:
    """Return the tables of a task by split."""
    return {split: folder / f"{split}.csv" for split in SPLITS}
