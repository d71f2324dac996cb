import contextlib
import errno
import gc
import os
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from autoft.core.jsonable import Json
from autoft.core.rewriter import LARGE_BYTES, Rewriter
from autoft.core.storage import Store
from autoft.tasks import state_hash
from autoft.training.checkpoint import Checkpoint, Checkpoints, Slot
from tests.kills import is_killed
from tests.s3 import Server

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.int64)}
FEW, MANY = 1000, LARGE_BYTES // 4 + 1000
"""Numbers of a tensor: a file of FEW is written when it is published, one of MANY before."""
SIZES = pytest.mark.parametrize("size", [FEW, MANY], ids=["few", "many"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "t0001")


def save(store: Store, slot: Slot, tensors: dict[str, torch.Tensor], about: Json) -> None:
    save_by(Checkpoints(store), slot, tensors, about)


def save_by(checkpoints: Checkpoints, slot: Slot, tensors: dict[str, torch.Tensor], about: Json) -> None:
    if slot == "best":
        with checkpoints.drafted(tensors) as drafts:
            checkpoints.publish(drafts, best=about)
    else:
        with checkpoints.drafted({}, tensors) as drafts:
            checkpoints.publish(drafts, last=about)


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


@pytest.mark.parametrize("slot", ["best", "last"])
def test_a_newer_checkpoint_replaces_the_older_whatever_its_size(store: Store, slot: Slot) -> None:
    checkpoints = Checkpoints(store)
    for epoch, rows in enumerate((3, 1000, 5, 300, 1100, 0, 2), start=1):
        tensors = {"a": torch.full((rows, 1000), float(epoch)), "b": torch.arange(rows)}
        save_by(checkpoints, slot, tensors, {"epoch": epoch})
        assert store.list() == [f"{slot}.safetensors"]
        loaded = load(store, slot)
        assert loaded.about["epoch"] == epoch
        assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in tensors.items())
        # The format's own reader wants the data behind the header, and nothing behind the data.
        assert torch.equal(safetensors.torch.load_file(store.path(f"{slot}.safetensors"))["a"], tensors["a"])


def test_more_words_than_there_is_room_for_are_written_all_the_same(store: Store) -> None:
    checkpoints = Checkpoints(store)
    for epoch, words in enumerate((10, 10**6, 10**6 + 1, 10), start=1):
        tensors = {"a": torch.arange(float(MANY)) + epoch}
        save_by(checkpoints, "last", tensors, {"epoch": epoch, "note": "x" * words})
        loaded = load(store, "last")
        assert loaded.about == {"epoch": epoch, "note": "x" * words}
        assert torch.equal(loaded.tensors["a"], tensors["a"])


def test_best_and_last_do_not_touch_each_other(store: Store) -> None:
    save(store, "best", TENSORS, {"epoch": 1})
    save(store, "last", TENSORS, {"epoch": 2})
    assert load(store, "best").about["epoch"] == 1


@SIZES
def test_where_the_best_cannot_be_written_the_last_stays_as_it_was(store: Store, size: int) -> None:
    save(store, "last", TENSORS, {"epoch": 1})
    Path(store.path("best.safetensors")).mkdir()
    checkpoints = Checkpoints(store)
    with pytest.raises(IsADirectoryError), checkpoints.drafted({"a": torch.zeros(size)}, TENSORS) as drafts:
        checkpoints.publish(drafts, best={"epoch": 2}, last={"epoch": 2})
    assert load(store, "last").about == {"epoch": 1}


@SIZES
def test_where_the_last_cannot_be_written_the_best_is_there(store: Store, size: int) -> None:
    Path(store.path("last.safetensors")).mkdir(parents=True)
    checkpoints = Checkpoints(store)
    with pytest.raises(IsADirectoryError), checkpoints.drafted({"a": torch.zeros(size)}, TENSORS) as drafts:
        checkpoints.publish(drafts, best={"epoch": 1}, last={"epoch": 1})
    assert store.list() == ["best.safetensors", "last.safetensors"]
    assert load(store, "best").about["epoch"] == 1


@SIZES
def test_what_is_not_published_is_not_there(store: Store, size: int) -> None:
    save(store, "last", TENSORS, {"epoch": 1})
    checkpoints, tensors = Checkpoints(store), {"a": torch.zeros(size)}
    with checkpoints.drafted(tensors, tensors):
        pass
    with pytest.raises(ZeroDivisionError), checkpoints.drafted(tensors, tensors):
        1 / 0  # noqa: B018
    assert store.list() == ["last.safetensors"]
    assert load(store, "last").about == {"epoch": 1}
    del checkpoints
    gc.collect()
    assert [path.name for path in Path(store.path()).iterdir()] == ["last.safetensors"]


def test_what_is_large_is_on_the_disk_before_it_is_known_what_it_is(store: Store) -> None:
    checkpoints, tensors = Checkpoints(store), {"a": torch.arange(float(4 * MANY))}
    with checkpoints.drafted(tensors, tensors) as drafts:
        wait_for(lambda: sum(path.stat().st_size for path in Path(store.path()).glob(".*")) > 2 * 15 * MANY)
        assert store.list() == []
        checkpoints.publish(drafts, best={"epoch": 1}, last={"epoch": 1})
    assert load(store, "last").about == {"epoch": 1}


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_thread_that_the_disk_refuses_is_an_error_where_the_file_is_wanted(
    store: Store, is_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []

    def refuse(*_: object) -> int:
        refused.append(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints, tensors = Checkpoints(store), {"a": torch.arange(float(4 * MANY))}
    with monkeypatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(os, "pwrite", refuse)
        if is_wanted:
            stack.enter_context(pytest.raises(OSError, match="No space left"))
        with checkpoints.drafted(tensors, {}) as drafts:
            wait_for(lambda: bool(refused))
            patch.undo()
            checkpoints.publish(drafts, best={"epoch": 1} if is_wanted else None, last={"epoch": 1})
    assert [path.name for path in Path(store.path()).iterdir()] == ([] if is_wanted else ["last.safetensors"])


def test_a_file_that_is_not_wanted_keeps_nobody_waiting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original, begun, goes_on = os.pwrite, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> int:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
            goes_on.wait(60)
        return original(*arguments)

    monkeypatch.setattr(os, "pwrite", slowly)
    weights = {"a": torch.zeros(16 * MANY)}
    checkpoints = Checkpoints(store)
    with checkpoints.drafted(weights, TENSORS) as drafts:
        assert begun.wait(60)
        checkpoints.publish(drafts, last={"epoch": 1})
        goes_on.set()
    (left,) = Path(store.path()).glob(".best*")
    assert left.stat().st_size < weights["a"].nbytes


def test_a_state_that_was_not_asked_for_cannot_be_published(store: Store) -> None:
    checkpoints = Checkpoints(store)
    with pytest.raises(ValueError, match="no state to go on from"), checkpoints.drafted(TENSORS) as drafts:
        checkpoints.publish(drafts, last={"epoch": 1})


def test_the_words_of_many_epochs_find_room_after_a_resume_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"a": torch.arange(float(MANY))}
    about = {"epoch": 1, "results": [{"name": '"quoted"', "ümlaut": 1}] * 10_000}
    save(store, "last", tensors, about)
    checkpoints, drafted = Checkpoints(store), []
    assert checkpoints.load("last") is not None
    original = Rewriter.draft
    monkeypatch.setattr(Rewriter, "draft", lambda *args, **how: drafted.append(how) or original(*args, **how))
    save_by(checkpoints, "last", tensors, about)
    assert len(drafted) == 1


def wait_for(found: Callable[[], bool]) -> None:
    for _ in range(6000):
        if found():
            return
        time.sleep(0.01)
    raise AssertionError("It never came.")


def test_the_hash_is_that_of_the_weights(store: Store) -> None:
    with Checkpoints(store).drafted(TENSORS) as drafts:
        assert drafts.weights_sha256 == state_hash(TENSORS)


@SIZES
def test_weights_to_go_on_from_that_are_others_than_the_best_are_in_the_last(store: Store, size: int) -> None:
    weights, network = ({"a": torch.full((size,), number)} for number in (1.0, 2.0))
    checkpoints = Checkpoints(store)
    with checkpoints.drafted(weights, {"optimizer.a": torch.zeros(3)}, network=network) as drafts:
        checkpoints.publish(drafts, best={"epoch": 1}, last={"epoch": 1})
    assert torch.equal(load(store, "best").tensors["a"], weights["a"])
    assert torch.equal(load(store, "last").tensors["model.a"], network["a"])


class Training:
    """What a trial saves, epoch after epoch, with other tensors each; the epochs in `best` are the best so far."""

    def __init__(self, store: Store, best: Container[int], size: int = FEW) -> None:
        self.checkpoints, self.best, self.size = Checkpoints(store), best, size
        last = self.checkpoints.load("last")
        self.epoch = 0 if last is None else last.about["epoch"]

    def run(self, until: int, *, goes_on: bool = True) -> None:
        while self.epoch < until:
            epoch = self.epoch + 1
            weights, rest = weights_of(epoch, self.size), {"optimizer.a": torch.full((self.size,), -float(epoch))}
            about = {"epoch": epoch}
            with self.checkpoints.drafted(weights, rest) as drafts:
                is_best = epoch in self.best
                self.checkpoints.publish(drafts, best=about if is_best else None, last=about if goes_on else None)
            self.epoch = epoch


def weights_of(epoch: int, size: int) -> dict[str, torch.Tensor]:
    return {"a": torch.full((size,), float(epoch)), "b": torch.arange(3) + epoch}


def require_consistent(store: Store, best: Container[int], size: int = FEW) -> int:
    """Check what lies on the disk, and return its epoch."""
    last, kept = Checkpoints(store).load("last"), Checkpoints(store).load("best")
    if last is None:
        assert not store.exists("last.safetensors")
        return 0
    epoch = int(last.about["epoch"])
    assert last.about == {"epoch": epoch}
    assert sorted(last.tensors) == ["model.a", "model.b", "optimizer.a"]
    assert all(torch.equal(last.tensors[f"model.{name}"], tensor) for name, tensor in weights_of(epoch, size).items())
    assert torch.equal(last.tensors["optimizer.a"], torch.full((size,), -float(epoch)))
    if kept is not None:
        assert kept.about["epoch"] in best
        expected = weights_of(kept.about["epoch"], size)
        assert all(torch.equal(kept.tensors[name], tensor) for name, tensor in expected.items())
    newest = max((one for one in range(1, epoch + 1) if one in best), default=0)
    assert (0 if kept is None else kept.about["epoch"]) >= newest
    return epoch


@SIZES
def test_weights_that_are_the_best_are_written_once(store: Store, size: int) -> None:
    training = Training(store, {1, 2, 4}, size)
    sizes = []
    for epoch in range(1, 6):
        training.run(epoch)
        assert require_consistent(store, training.best, size) == epoch
        assert store.list() == ["best.safetensors", "last.safetensors"]
        sizes.append(len(store.read("last.safetensors")))
    room = 1000 if size == FEW else 100_000
    assert max(sizes[0], sizes[1], sizes[3]) < 4 * size + room
    assert min(sizes[2], sizes[4]) > 8 * size


@SIZES
def test_where_no_newer_last_follows_the_best_the_former_best_stays(store: Store, size: int) -> None:
    training = Training(store, {1, 2, 3}, size)
    training.run(1)
    for epoch in (2, 3):
        training.run(epoch, goes_on=False)
        assert store.list() == ["best.safetensors", "former.safetensors", "last.safetensors"]
        assert require_consistent(store, training.best, size) == 1
    again = Training(store, {1, 2, 3}, size)
    assert again.epoch == 1
    again.run(3)
    assert require_consistent(store, again.best, size) == 3
    assert store.list() == ["best.safetensors", "last.safetensors"]


def test_a_last_whose_weights_are_lost_is_none(store: Store) -> None:
    Training(store, {1}).run(1)
    save(store, "best", TENSORS, {"epoch": 1})
    assert Checkpoints(store).load("last") is None


@SIZES
@pytest.mark.parametrize("best", [{1, 2, 3, 4, 5}, {1, 3}], ids=str)
def test_a_kill_before_any_step_loses_no_epoch_that_was_saved_also_if_the_next_is_killed_too(
    best: set[int], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoft.training.checkpoint._THREADS", 1)  # so that the steps come in one order
    is_first_cut, first = True, 0
    while is_first_cut:
        store = Store.open(tmp_path / str(first))
        Training(store, best, size).run(2)
        is_first_cut = is_killed(lambda store=store: Training(store, best, size).run(3), before=first)
        assert require_consistent(store, best, size) >= 2
        is_cut = is_killed(lambda store=store: Training(store, best, size).run(4), before=first // 2 + 2)
        epoch = require_consistent(store, best, size)
        assert epoch >= (2 if is_cut else 4)
        store.sweep()
        assert require_consistent(store, best, size) == epoch
        Training(store, best, size).run(5)
        assert require_consistent(store, best, size) == 5
        first += 1
    assert first > 10


@SIZES
@pytest.mark.parametrize("best", [{1, 2, 4, 5}, {1, 4, 5}], ids=str)
def test_a_kill_before_any_step_leaves_nothing_that_is_written_into_while_it_is_read(
    best: set[int], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoft.training.checkpoint._THREADS", 1)  # so that the steps come in one order
    for first in range(18):
        store = Store.open(tmp_path / str(first))
        Training(store, {1}, size).run(1)
        is_killed(lambda store=store: Training(store, {1, 2}, size).run(2), before=first)
        store.sweep()
        again = Training(store, best, size)
        again.run(4)
        names = [path for path in Path(store.path()).iterdir() if path.name != "former.safetensors"]
        assert len({path.stat().st_ino for path in names}) == len(names)
        for second in (1, 2, 3):  # when the file is open
            is_killed(lambda again=again: again.run(5), before=second)
            assert require_consistent(store, best, size) >= 4


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
