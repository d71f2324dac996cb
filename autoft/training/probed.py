"""The solved head of a frozen backbone, once a machine: the probe's result, and where LP-FT begins."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from autoft.core.filelock import Beat
from autoft.core.jsonable import Json
from autoft.core.seeds import generator
from autoft.training.sampling import Rows, rounded
from autoft.training.solver import L2_GRID, fit_linear, linear_head
from autoft.training.workbench import Workbench

CODE = 1
"""Version of the solver: one more wherever a digit may differ."""


def sample(targets: Rows, count: int) -> Rows | None:
    """Return the places of about `count` rows, rising; None where there are no more than that.

    Each class has its share of them, and one at least. They are the same for every trial.
    """
    if len(targets) <= count:
        return None
    draws = generator(0, "probe", "rows")
    _, classes, counts = np.unique(targets, return_inverse=True, return_counts=True)
    wanted = np.maximum(1, rounded(count * counts / len(targets), draws))
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [draws.permutation(rows)[:number] for rows, number in zip(members, wanted, strict=True)]
    return np.sort(np.concatenate(drawn))


def probe_rows(bench: Workbench) -> Rows | None:
    """Return the training rows that the head is solved on; None: all."""
    return sample(bench.dataset.targets("train"), int(bench.config.recipe["finetune"]["probe_rows"]))


def probe_data(bench: Workbench) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return features, float64 (N, F), and targets, int64 (N,), of the rows that the head is solved and chosen on."""
    rows = probe_rows(bench)
    targets = {split: bench.targets(split) for split in ("train", "val")}
    if rows is not None:
        targets["train"] = targets["train"][torch.from_numpy(rows)]
    features = {"train": bench.frozen_features("train", rows).double(), "val": bench.frozen_features("val").double()}
    return features, targets


def take_solution(bench: Workbench) -> None:
    """Give the network's linear head the solution on its frozen features, solved if nobody has done so yet."""
    layer = linear_head(bench.network)
    num_classes, num_features = layer.weight.shape
    key: Json = {
        "table": "probe head",
        "code": CODE,
        "train": bench.features_key("train", probe_rows(bench)),
        "val": bench.features_key("val"),
        "classes": num_classes,
        "l2": list(L2_GRID),
    }
    schema = pa.schema(
        [
            pa.field("weight", pa.list_(pa.float32(), num_features), nullable=False),
            pa.field("bias", pa.float32(), nullable=False),
        ]
    )

    def make(beat: Beat) -> Iterator[pa.RecordBatch]:
        solved = nn.Linear(num_features, num_classes)
        features, targets = probe_data(bench)
        fit_linear(solved, features, targets, heartbeat=beat)
        weight = pa.array(solved.weight.detach().reshape(-1).numpy())
        columns = [pa.FixedSizeListArray.from_arrays(weight, num_features), pa.array(solved.bias.detach().numpy())]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)

    table = bench.warm.shelf.table(key, schema, make, heartbeat=bench.heartbeat).table.combine_chunks()
    with torch.no_grad():
        weight = np.array(table["weight"].chunk(0).flatten()).reshape(num_classes, num_features)
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(np.array(table["bias"].chunk(0))))
