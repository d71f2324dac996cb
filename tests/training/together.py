"""One of the processes that train trials together: `python -m tests.training.together RANK SIZE FOLDER PORT`.

The folder's cases.json says which trials; of each, FOLDER/CASE.RANK.safetensors and .json say what came of it.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autoft.core.configs import TrialConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import open_dataset
from autoft.training.group import ALONE, Group
from autoft.training.loop import Trial
from autoft.training.meeting import leave, meet
from autoft.training.worker import open_trial

LOOPBACK = "127.0.0.1"


def train(case: Json, folder: Path, name: str, group: Group = ALONE) -> tuple[Json, dict[str, Tensor]]:
    """Train a case's trial, opened anew before each epoch, and return what it shows and its tensors."""
    config = TrialConfig.from_json(case["config"], where=name)
    dataset = open_dataset(Path(case["data"]))
    results: list[Json] = []
    rows = 0
    for epoch in range(case["epochs"]):
        trial = open_trial(config, dataset, store=Store.open(folder / name), epochs_recorded=epoch, group=group)
        assert isinstance(trial, Trial)
        if group.rank == case.get("tight_rank"):
            trial.bench.network.register_forward_pre_hook(refuse)
        results.append(trial.run_epoch().to_json())

    def count(_part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(inputs[0])

    handle = trial.bench.network.register_forward_pre_hook(count)
    tensors = {"logits": trial.bench.logits("val")}
    handle.remove()
    tensors |= {key: value.contiguous() for key, value in trial.bench.network.state_dict().items()}
    shown = {"results": results, "rows": rows, "execution": trial.config.execution, "listening": listening()}
    return shown, tensors


def refuse(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Have memory for two rows in training."""
    if part.training and len(inputs[0]) > 2:
        torch.empty(1 << 50, dtype=torch.uint8)  # torch's allocator refuses it.


def join(rank: int, size: int, folder: Path, port: int) -> None:
    """Train all cases of a folder with the other processes, as one of them."""
    torch.set_num_threads(1)
    meet(LOOPBACK, port, LOOPBACK, rank, size, on_gpus=False, seconds=60.0)
    for name, case in json.loads((folder / "cases.json").read_text()).items():
        shown, tensors = train(case, folder, name, Group.here())
        save_file(tensors, folder / f"{name}.{rank}.safetensors")
        (folder / f"{name}.{rank}.json").write_text(json.dumps(shown))
    leave()


FORMER: set[str] = set()
"""Sockets of this process that are no business of the group's."""


def listening() -> list[str]:
    """Return the addresses, in hexadecimal, at which this process listens: proc(5), /proc/net/tcp."""
    own = sockets() - FORMER
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                found.append(fields[1].partition(":")[0])
    return found


def sockets() -> set[str]:
    """Return the sockets that this process has open."""
    links = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    return {link for link in links if link.startswith("socket:")}


if __name__ == "__main__":
    join(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
