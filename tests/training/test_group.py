"""Trials of several processes: the same batches, the same updates, every row once."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from autoft.core.configs import DataSpec, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.data import prepare
from autoft.training.execution import choose_execution
from autoft.training.group import shares
from autoft.training.meeting import listen
from tests.conftest import COLOURS, write_pictures, write_texts
from tests.law.conftest import write_encoder
from tests.training.together import FORMER, LOOPBACK, join, sockets, train

IMAGE, TEXT = "image-classification", "text-classification"
VIT: Json = {"name": "timm:test_vit", "weights": "none", "input_size": 160}
LAYER_NORMS: Json = {"name": "timm:test_convnext", "weights": "none", "input_size": 64}
BATCH_NORMS: Json = {"name": "timm:test_resnet", "weights": "none", "input_size": 32}
SGD: Json = {"name": "sgd", "lr": 0.05}
STILL: Json = {"augmentation": {"name": "none"}}
TOLERANCE = 2e-6
"""Of a tensor, in parts of its largest number; what weights have learned in some updates."""

CASES: dict[str, Json] = {
    "plain": {"backbone": VIT, "batch_size": 7},
    "accumulated, mixed, clipped": {
        "backbone": VIT,
        "batch_size": 3,
        "accumulation": 2,
        "mixing": {"name": "mixup"},
        "augmentation": {"name": "randaugment"},
        "clip_norm": 0.5,
    },
    "sam": {"backbone": VIT, "optimizer": {"name": "sam", "base": SGD}, **STILL},
    "layer decay, averaged": {
        "backbone": VIT,
        "finetune": {"mode": "full", "layer_decay": 0.7},
        "averaging": {"name": "ema", "decay": 0.9},
        "batch_size": 5,
    },
    "lora": {"backbone": VIT, "finetune": {"mode": "lora", "rank": 2, "dropout": 0.0}, **STILL},
    "head": {"backbone": VIT, "finetune": {"mode": "head"}, **STILL},
    "head, batch norms": {"backbone": BATCH_NORMS, "finetune": {"mode": "head"}, **STILL},
    "head, augmented": {"backbone": VIT, "finetune": {"mode": "head"}, "augmentation": {"name": "flip"}},
    "frozen once": {"backbone": VIT, "finetune": {"mode": "partial", "frozen_groups": 4}, **STILL},
    "gradual": {"backbone": VIT, "finetune": {"mode": "gradual"}, **STILL},
    "layer norms, weighted": {
        "backbone": LAYER_NORMS,
        "loss": {"name": "cross_entropy", "class_weights": "balanced"},
        "mixing": {"name": "cutmix"},
        "batch_size": 9,
        "accumulation": 2,
    },
    "one row": {"backbone": LAYER_NORMS, "batch_size": 1, "accumulation": 3, **STILL},
}
TEXT_CASES: dict[str, Json] = {
    "mixed embeddings": {"mixing": {"name": "embedding_mixup"}, "batch_size": 7},
    "fgm": {"regularization": {"name": "fgm"}, "mixing": {"name": "embedding_mixup"}, "batch_size": 5},
}
OTHERS: dict[str, Json] = {
    "batch norms": {"backbone": BATCH_NORMS, "batch_size": 9},
    "low memory": {"backbone": VIT, "batch_size": 8, **STILL},
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    folder = tmp_path_factory.mktemp("data")
    pictures = write_pictures(folder / "pictures", per_class=15)
    for label, count in zip(COLOURS, (7, 9, 15), strict=True):
        for path in sorted((pictures / label).iterdir())[count:]:
            path.unlink()
    texts = write_texts(folder / "texts.csv", per_class=14)
    (folder / "encoder").mkdir()
    encoder = {"name": f"hf:{write_encoder(folder / 'encoder', num_layers=1)}", "dropout": 0.0}
    found: dict[str, Json] = {}
    for task, source, recipes in (
        (IMAGE, pictures, {**CASES, **OTHERS}),
        (TEXT, texts, {name: {"backbone": encoder, **recipe} for name, recipe in TEXT_CASES.items()}),
    ):
        prepared = prepare(str(source), DataSpec(source=str(source), task=task), out=folder / f"{task}-data")
        for name, recipe in recipes.items():
            config = TrialConfig(
                task=task,
                data={"fingerprint": prepared.fingerprint},
                recipe=complete({"optimizer": SGD, **recipe}, task=task),
                epochs=2,
                metrics=("accuracy",),
                seed=3,
            )
            found[name] = {"config": config.to_json(), "data": str(prepared.path), "epochs": 1}
    for name in ("plain", "head, batch norms"):
        found[name]["epochs"] = 2
    # As one process alone would choose it; of texts, also one whose processor computes in bfloat16, which rounds more.
    for name in ("frozen once", *TEXT_CASES):
        settings = {"frozen_once": True} if name == "frozen once" else {"dtype": "float32"}
        config = TrialConfig.from_json(found[name]["config"], where=name)
        execution = choose_execution(config, input_kind=config.task.partition("-")[0], threads=1).to_json() | settings
        found[name]["config"] = config.replace(execution=execution).to_json()
    found["low memory"]["tight_rank"] = 1
    return found


Shown = tuple[Json, dict[str, Tensor]]


QUICK = (
    "plain",
    "head, batch norms",
    "accumulated, mixed, clipped",
    "layer norms, weighted",
    "mixed embeddings",
    *OTHERS,
)
"""What the fast tests train; the processes that train the others are slow."""


@pytest.fixture(scope="module")
def together(cases: dict[str, Json], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Shown]]:
    """Return what each of two processes, which train the quick cases together, shows of one."""
    return train_together({name: cases[name] for name in QUICK}, tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def all_together(cases: dict[str, Json], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Shown]]:
    """Return the same of the other cases."""
    others = {name: case for name, case in cases.items() if name not in QUICK}
    return train_together(others, tmp_path_factory.mktemp("together"))


def train_together(cases: dict[str, Json], folder: Path) -> Callable[[str], list[Shown]]:
    (folder / "cases.json").write_text(json.dumps(cases))
    FORMER.update(sockets())  # what other tests have left open in this process
    port = listen(LOOPBACK)
    command = [sys.executable, "-m", "tests.training.together", "1", "2", str(folder), str(port)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "")
        patch.setenv("NCCL_SOCKET_IFNAME", "")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as other:
            join(0, 2, folder, port)
            errors = other.communicate(timeout=60)[1]
            assert other.returncode == 0, errors

    def shown(name: str) -> list[Shown]:
        paths = [folder / f"{name}.{rank}" for rank in range(2)]
        return [(json.loads(Path(f"{p}.json").read_text()), load_file(f"{p}.safetensors")) for p in paths]

    return shown


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in (*CASES, *TEXT_CASES)]
)
def test_two_processes_train_as_one_does(
    cases: dict[str, Json], request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    trained = request.getfixturevalue("together" if name in QUICK else "all_together")
    (first, tensors), (_, others) = trained(name)
    expected, alone = train(cases[name], tmp_path, "alone")
    for key, tensor in alone.items():
        assert torch.equal(tensors[key], others[key]), key
        apart = (tensors[key].double() - tensor.double()).abs().max() if tensor.numel() else torch.zeros(())
        assert apart <= TOLERANCE * max(1.0, tensor.double().abs().max().item()), f"{key}: {apart}"
    for result, as_one in zip(first["results"], expected["results"], strict=True):
        for metric in ("train_loss", "val_loss", "val_accuracy"):
            assert result["metrics"][metric] == pytest.approx(as_one["metrics"][metric], rel=1e-5), metric


def test_every_row_is_evaluated_once(cases: dict[str, Json], together: Callable[[str], list[Shown]]) -> None:
    (first, tensors), (second, _) = together("plain")
    assert len(tensors["logits"]) % 2 == 1
    assert sorted([first["rows"], second["rows"]]) == [len(tensors["logits"]) // 2, len(tensors["logits"]) // 2 + 1]


def test_the_processes_listen_on_loopback_alone(together: Callable[[str], list[Shown]]) -> None:
    (first, _), (second, _) = together("plain")
    assert first["listening"]
    assert {*first["listening"], *second["listening"]} <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_the_configuration_says_how_many_trained_it(together: Callable[[str], list[Shown]]) -> None:
    (first, _), (second, _) = together("plain")
    assert first["execution"] == second["execution"]
    assert first["execution"]["workers"] == 2


@pytest.mark.slow
def test_processes_keep_what_frozen_layers_give_where_one_did(all_together: Callable[[str], list[Shown]]) -> None:
    shown = all_together("frozen once")
    assert [one["execution"]["frozen_once"] for one, _ in shown] == [True, True]


def test_batch_norms_differ_from_one_worker_and_not_between_workers(
    cases: dict[str, Json], together: Callable[[str], list[Shown]], tmp_path: Path
) -> None:
    (_, tensors), (_, others) = together("batch norms")
    _, alone = train(cases["batch norms"], tmp_path, "alone")
    assert all(torch.equal(tensor, others[key]) for key, tensor in tensors.items())
    assert any(not torch.allclose(tensor, tensors[key], rtol=1e-3) for key, tensor in alone.items())


def test_where_one_runs_out_of_memory_all_take_less(
    cases: dict[str, Json], together: Callable[[str], list[Shown]], tmp_path: Path
) -> None:
    (first, tensors), (second, _) = together("low memory")
    assert first["execution"] == second["execution"]
    assert first["execution"]["micro_batch"] == 3
    _, alone = train(cases["low memory"], tmp_path, "alone")
    torch.testing.assert_close(tensors["logits"], alone["logits"], rtol=1e-4, atol=1e-5)


@given(count=st.integers(1, 200), size=st.integers(1, 12), fewest=st.integers(1, 4))
def test_shares_hold_every_row_once_in_order(count: int, size: int, fewest: int) -> None:
    parts = shares(count, size, fewest=fewest)
    assert len(parts) == size
    assert [row for part in parts for row in range(count)[part]] == list(range(count))
    widths = [part.stop - part.start for part in parts]
    used = [width for width in widths if width]
    assert widths == used + [0] * (size - len(used))
    assert max(used) - min(used) <= 1
    assert min(used) >= min(fewest, count)
