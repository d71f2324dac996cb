from collections.abc import Container
from pathlib import Path

import pytest
import safetensors.torch
import torch

from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.training.checkpoint import Checkpoint, Checkpoints, Slot
from tests.kills import is_killed
from tests.s3 import Server

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.int64)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "t0001")


def save(store: Store, slot: Slot, tensors: dict[str, torch.Tensor], about: Json) -> None:
    checkpoints = Checkpoints(store)
    if slot == "best":
        checkpoints.save_best(tensors, about, weights_sha256="some")
    else:
        checkpoints.save_last(tensors, {}, about, weights_sha256=None)
    checkpoints.settle()


def load(store: Store, slot: Slot) -> Checkpoint:
    loaded = Checkpoints(store).load(slot)
    assert loaded is not None
    return loaded


def test_what_is_saved_is_loaded(store: Store) -> None:
    save(store, "last", TENSORS, {"epoch": 3, "note": "x"})
    loaded = load(store, "last")
    assert loaded.about == {"epoch": 3, "note": "x"}
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
    loaded = load(store, slot)
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_a_newer_checkpoint_replaces_the_older_whatever_its_size(store: Store) -> None:
    checkpoints = Checkpoints(store)
    for epoch, rows in enumerate((3, 1, 5, 5, 0, 2), start=1):
        tensors = {"a": torch.full((rows, 1000), float(epoch))}
        checkpoints.save_last(tensors, {}, {"epoch": epoch}, weights_sha256=None)
        assert store.list() == ["last.safetensors"]
        loaded = load(store, "last")
        assert loaded.about == {"epoch": epoch}
        assert torch.equal(loaded.tensors["a"], tensors["a"])


def test_best_and_last_do_not_touch_each_other(store: Store) -> None:
    save(store, "best", TENSORS, {"epoch": 1})
    save(store, "last", TENSORS, {"epoch": 2})
    assert load(store, "best").about["epoch"] == 1


def test_where_the_best_cannot_be_written_the_last_stays_as_it_was(store: Store) -> None:
    save(store, "last", TENSORS, {"epoch": 1})
    Path(store.path("best.safetensors")).mkdir()
    checkpoints = Checkpoints(store)
    checkpoints.save_best(TENSORS, {"epoch": 2}, weights_sha256="two")
    with pytest.raises(IsADirectoryError):
        checkpoints.save_last({}, TENSORS, {"epoch": 2}, weights_sha256="two")
    assert load(store, "last").about == {"epoch": 1}
    checkpoints.save_best(TENSORS, {"epoch": 3}, weights_sha256="three")
    with pytest.raises(IsADirectoryError):
        checkpoints.settle()


def test_a_last_one_that_cannot_be_written_leaves_no_best_under_way(store: Store) -> None:
    Path(store.path("last.safetensors")).mkdir(parents=True)
    checkpoints = Checkpoints(store)
    checkpoints.save_best(TENSORS, {"epoch": 1}, weights_sha256="one")
    with pytest.raises(IsADirectoryError):
        checkpoints.save_last({}, TENSORS, {"epoch": 1}, weights_sha256="one")
    assert store.list() == ["best.safetensors", "last.safetensors"]
    assert load(store, "best").about["epoch"] == 1


class Training:
    """What a trial saves, epoch after epoch, with other tensors each; the epochs in `best` are the best so far."""

    def __init__(self, store: Store, best: Container[int]) -> None:
        self.checkpoints, self.best = Checkpoints(store), best
        last = self.checkpoints.load("last")
        self.epoch = 0 if last is None else last.about["epoch"]

    def run(self, until: int) -> None:
        while self.epoch < until:
            self.epoch += 1
            weights, rest = weights_of(self.epoch), {"optimizer.a": torch.full((5,), -float(self.epoch))}
            name = f"sha of {self.epoch}"
            if self.epoch in self.best:
                self.checkpoints.save_best(weights, {"epoch": self.epoch}, weights_sha256=name)
            self.checkpoints.save_last(rest, weights, {"epoch": self.epoch}, weights_sha256=name)


def weights_of(epoch: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full((1000,), float(epoch)), "b": torch.arange(3) + epoch}


def require_consistent(store: Store, best: Container[int]) -> int:
    """Check what lies on the disk, and return its epoch."""
    last, kept = Checkpoints(store).load("last"), Checkpoints(store).load("best")
    if last is None:
        assert not store.exists("last.safetensors")
        return 0
    epoch = int(last.about["epoch"])
    assert last.about == {"epoch": epoch}
    assert sorted(last.tensors) == ["model.a", "model.b", "optimizer.a"]
    assert all(torch.equal(last.tensors[f"model.{name}"], tensor) for name, tensor in weights_of(epoch).items())
    assert torch.equal(last.tensors["optimizer.a"], torch.full((5,), -float(epoch)))
    if kept is not None:
        assert kept.about["epoch"] in best
        assert all(torch.equal(kept.tensors[name], tensor) for name, tensor in weights_of(kept.about["epoch"]).items())
    newest = max((one for one in range(1, epoch + 1) if one in best), default=0)
    assert (0 if kept is None else kept.about["epoch"]) >= newest
    return epoch


def test_weights_that_are_the_best_are_written_once(store: Store) -> None:
    training = Training(store, best={1, 2, 4})
    sizes = []
    for epoch in range(1, 6):
        training.run(epoch)
        assert require_consistent(store, training.best) == epoch
        assert store.list() == ["best.safetensors", "last.safetensors"]
        sizes.append(len(store.read("last.safetensors")))
    assert max(sizes[0], sizes[1], sizes[3]) < 1000
    assert min(sizes[2], sizes[4]) > 4000


def test_where_no_newer_last_follows_the_best_the_former_best_stays(store: Store) -> None:
    training = Training(store, best={1, 2, 3})
    training.run(1)
    for epoch in (2, 3):
        training.checkpoints.save_best(weights_of(epoch), {"epoch": epoch}, weights_sha256=f"sha of {epoch}")
        training.checkpoints.settle()
        assert store.list() == ["best.safetensors", "former.safetensors", "last.safetensors"]
        assert require_consistent(store, training.best) == 1
    again = Training(store, best={1, 2, 3})
    assert again.epoch == 1
    again.run(3)
    assert require_consistent(store, again.best) == 3
    assert store.list() == ["best.safetensors", "last.safetensors"]


def test_a_last_whose_weights_are_lost_is_none(store: Store) -> None:
    Training(store, best={1}).run(1)
    save(store, "best", TENSORS, {"epoch": 1})
    assert Checkpoints(store).load("last") is None


@pytest.mark.parametrize("best", [{1, 2, 3, 4, 5}, {1, 3}], ids=str)
def test_a_kill_before_any_step_loses_no_epoch_that_was_saved_also_if_the_next_is_killed_too(
    best: set[int], tmp_path: Path
) -> None:
    for first in range(30):
        store = Store.open(tmp_path / str(first))
        Training(store, best).run(2)
        is_first_cut = is_killed(lambda store=store: Training(store, best).run(3), before=first)
        assert require_consistent(store, best) >= 2
        is_cut = is_killed(lambda store=store: Training(store, best).run(4), before=first // 2 + 2)
        epoch = require_consistent(store, best)
        assert epoch >= (2 if is_cut else 4)
        store.sweep()
        assert require_consistent(store, best) == epoch
        Training(store, best).run(5)
        assert require_consistent(store, best) == 5
    assert not is_first_cut
    assert not is_cut


@pytest.mark.parametrize("best", [{1, 2, 4, 5}, {1, 4, 5}], ids=str)
def test_a_kill_before_any_step_leaves_nothing_that_is_written_into_while_it_is_read(
    best: set[int], tmp_path: Path
) -> None:
    for first in range(18):
        store = Store.open(tmp_path / str(first))
        Training(store, best={1}).run(1)
        is_killed(lambda store=store: Training(store, best={1, 2}).run(2), before=first)
        store.sweep()
        again = Training(store, best)
        again.run(4)
        names = [path for path in Path(store.path()).iterdir() if path.name != "former.safetensors"]
        assert len({path.stat().st_ino for path in names}) == len(names)
        for second in (1, 2, 3):  # when the file is open
            is_killed(lambda again=again: again.run(5), before=second)
            assert require_consistent(store, best) >= 4


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
