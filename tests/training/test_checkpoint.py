from pathlib import Path

import pytest
import safetensors.torch
import torch

from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.training.checkpoint import Checkpoints, Slot
from tests.s3 import Server

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.int64)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "t0001")


def save(store: Store, slot: Slot, tensors: dict[str, torch.Tensor], about: Json) -> None:
    checkpoints = Checkpoints(store)
    checkpoints.save(slot, tensors, about)
    checkpoints.settle()


def test_what_is_saved_is_loaded(store: Store) -> None:
    save(store, "last", TENSORS, {"epoch": 3, "note": "x"})
    loaded = Checkpoints(store).load("last")
    assert loaded is not None
    assert loaded.about["epoch"] == 3
    assert loaded.about["note"] == "x"
    assert all(torch.equal(loaded.tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("slot", ["best", "last"])
def test_every_dtype_and_shape_comes_back(store: Store, slot: Slot) -> None:
    drawn = torch.Generator().manual_seed(0)
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    tensors = {str(dtype): torch.randn(3, 5, generator=drawn).to(dtype) for dtype in dtypes}
    whole = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    tensors |= {str(dtype): torch.randint(2, (7,), generator=drawn).to(dtype) for dtype in whole}
    tensors |= {"scalar": torch.tensor(3.0), "empty": torch.empty(0, 4), "turned": torch.arange(6.0).view(2, 3).T}
    tensors["channels_last"] = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    save(store, slot, tensors, {"epoch": 1})
    loaded = Checkpoints(store).load(slot)
    assert loaded is not None
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_a_newer_checkpoint_replaces_the_older_whatever_its_size(store: Store) -> None:
    checkpoints = Checkpoints(store)
    for epoch, rows in enumerate((3, 1, 5, 5, 0, 2), start=1):
        checkpoints.save("last", {"a": torch.full((rows, 1000), float(epoch))}, {"epoch": epoch})
        assert store.list() == ["last.safetensors"]
        loaded = Checkpoints(store).load("last")
        assert loaded is not None
        assert loaded.about == {"epoch": epoch}
        assert torch.equal(loaded.tensors["a"], torch.full((rows, 1000), float(epoch)))


def test_best_and_last_do_not_touch_each_other(store: Store) -> None:
    save(store, "best", TENSORS, {"epoch": 1})
    save(store, "last", TENSORS, {"epoch": 2})
    loaded = Checkpoints(store).load("best")
    assert loaded is not None
    assert loaded.about["epoch"] == 1


def test_where_the_best_cannot_be_written_the_last_stays_as_it_was(store: Store) -> None:
    save(store, "last", TENSORS, {"epoch": 1})
    Path(store.path("best.safetensors")).mkdir()
    checkpoints = Checkpoints(store)
    checkpoints.save("best", TENSORS, {"epoch": 2})
    with pytest.raises(IsADirectoryError):
        checkpoints.save("last", TENSORS, {"epoch": 2})
    loaded = Checkpoints(store).load("last")
    assert loaded is not None
    assert loaded.about == {"epoch": 1}
    checkpoints.save("best", TENSORS, {"epoch": 3})
    with pytest.raises(IsADirectoryError):
        checkpoints.settle()


def test_a_last_one_that_cannot_be_written_leaves_no_best_under_way(store: Store) -> None:
    Path(store.path("last.safetensors")).mkdir(parents=True)
    checkpoints = Checkpoints(store)
    checkpoints.save("best", TENSORS, {"epoch": 1})
    with pytest.raises(IsADirectoryError):
        checkpoints.save("last", TENSORS, {"epoch": 1})
    assert store.list() == ["best.safetensors", "last.safetensors"]
    loaded = Checkpoints(store).load("best")
    assert loaded is not None
    assert loaded.about == {"epoch": 1}


def test_a_checkpoint_is_plain_safetensors(store: Store) -> None:
    save(store, "best", TENSORS, {"epoch": 1})
    tensors = safetensors.torch.load_file(store.path("best.safetensors"))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_on_an_object_store_a_checkpoint_is_one_request_to_write_and_two_to_read(s3: Server) -> None:
    store = Store.open(s3.uri("run"))
    with s3.counted() as requests:
        save(store, "last", TENSORS, {"epoch": 1})
        save(store, "last", TENSORS, {"epoch": 2})
    assert [request.method for request in requests] == ["PUT", "PUT"]
    with s3.counted() as requests:
        loaded = Checkpoints(store).load("last")
    assert [request.method for request in requests] == ["HEAD", "GET"]
    assert loaded is not None
    assert loaded.about["epoch"] == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "header", "empty", "other"])
def test_a_damaged_checkpoint_is_none(store: Store, damage: str) -> None:
    save(store, "last", TENSORS, {"epoch": 1})
    path = Path(store.path("last.safetensors"))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "gone":
        path.unlink()
    elif damage == "header":
        path.write_bytes(content.replace(b"epoch", b"epoca"))
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        safetensors.torch.save_file(TENSORS, path)
    assert Checkpoints(store).load("last") is None


def test_no_checkpoint_is_none(store: Store) -> None:
    assert Checkpoints(store).load("best") is None
