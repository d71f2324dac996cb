from pathlib import Path

import pytest
import torch

from autoft.core.storage import Store
from autoft.training import checkpoint

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.int64)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "t0001")


def test_what_is_saved_is_loaded(store: Store) -> None:
    checkpoint.save(store, "last", TENSORS, {"epoch": 3, "note": "x"})
    loaded = checkpoint.load(store, "last")
    assert loaded is not None
    assert loaded.about["epoch"] == 3
    assert loaded.about["note"] == "x"
    assert all(torch.equal(loaded.tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_newer_checkpoint_replaces_the_older(store: Store) -> None:
    for epoch in (1, 2):
        checkpoint.save(store, "last", TENSORS, {"epoch": epoch})
    assert store.list() == ["last-00002.safetensors", "last.json"]


def test_best_and_last_do_not_touch_each_other(store: Store) -> None:
    checkpoint.save(store, "best", TENSORS, {"epoch": 1})
    checkpoint.save(store, "last", TENSORS, {"epoch": 2})
    loaded = checkpoint.load(store, "best")
    assert loaded is not None
    assert loaded.about["epoch"] == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "json"])
def test_a_damaged_checkpoint_is_none(store: Store, damage: str) -> None:
    checkpoint.save(store, "last", TENSORS, {"epoch": 1})
    path = Path(store.path("last-00001.safetensors"))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "gone":
        path.unlink()
    else:
        Path(store.path("last.json")).write_text('{"epoch": 1')
    assert checkpoint.load(store, "last") is None


def test_no_checkpoint_is_none(store: Store) -> None:
    assert checkpoint.load(store, "best") is None
