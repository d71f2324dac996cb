"""A file that is written again and again: whole for every reader at every moment, in the bytes that are there."""

import errno
import gc
import os
from pathlib import Path

import pytest

from autoft.core.rewriter import LARGE_BYTES, Rewriter
from autoft.core.storage import Store
from tests.kills import is_killed, steps_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "run")


def hidden(store: Store) -> list[str]:
    return [path.name for path in Path(store.path()).iterdir() if path.name.startswith(".")]


def test_it_is_written_in_turns_into_two_files_and_never_into_the_one_that_is_read(store: Store) -> None:
    rewriter, seen = Rewriter(store, "last"), []
    for number in range(6):
        rewriter.write(b"version ", str(number).encode() * (6 - number))
        assert store.read("last") == b"version " + str(number).encode() * (6 - number)
        seen.append(Path(store.path("last")).stat().st_ino)
    assert seen[0] != seen[1]
    assert seen[2:] == seen[:-2]
    assert store.list() == ["last"]


def test_a_reader_that_began_sees_the_version_that_it_opened_until_the_next_but_one(store: Store) -> None:
    rewriter = Rewriter(store, "last")
    rewriter.write(b"one")
    with Path(store.path("last")).open("rb") as file:
        rewriter.write(b"two")
        assert file.read() == b"one"


def test_with_it_goes_what_it_kept(store: Store) -> None:
    rewriter = Rewriter(store, "last")
    rewriter.write(b"one")
    rewriter.write(b"two")
    assert len(hidden(store)) == 1
    del rewriter
    gc.collect()
    assert hidden(store) == []
    assert store.read("last") == b"two"


def test_two_that_write_one_file_do_not_write_into_each_others(store: Store) -> None:
    first, second = Rewriter(store, "last"), Rewriter(store, "last")
    for number in range(8):
        content = bytes([number]) * (number + 1)
        (first, second)[number // 2 % 2].write(content)
        assert store.read("last") == content


def test_the_version_before_is_kept_under_a_name_until_it_is_reclaimed(store: Store) -> None:
    rewriter = Rewriter(store, "best", durable=True)
    rewriter.write(b"one", former="former")
    assert store.list() == ["best"]
    rewriter.write(b"two", former="former")
    rewriter.write(b"three", former="former")
    assert (store.read("best"), store.read("former")) == (b"three", b"two")
    rewriter.write(b"four")
    assert (store.read("best"), store.read("former")) == (b"four", b"two")
    kept = Path(store.path("former")).stat().st_ino
    rewriter.reclaim("former")
    assert store.list() == ["best"]
    rewriter.write(b"five")
    assert Path(store.path("best")).stat().st_ino == kept
    rewriter.reclaim("former")


def test_a_disk_where_a_file_has_one_name_keeps_a_copy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    rewriter = Rewriter(store, "best")
    for content in (b"one", b"two", b"three"):
        rewriter.write(content, former="former")
    assert (store.read("best"), store.read("former")) == (b"three", b"two")
    assert hidden(store) == []


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_kill_before_any_step_leaves_the_old_or_the_new_and_a_sweep_leaves_nothing_else(
    version: int, tmp_path: Path
) -> None:
    steps = 0
    while True:
        store = Store.open(tmp_path / str(steps))
        rewriter = Rewriter(store, "last")
        killed = is_killed(
            lambda rewriter=rewriter: rewriter.write(_content(version)),
            before=steps,
            prepare=lambda rewriter=rewriter: [rewriter.write(_content(number)) for number in range(1, version)],
        )
        found = store.read("last") if store.exists("last") else b""
        assert found in {_content(version - 1), _content(version)}
        # Whoever comes next writes as if nothing had been.
        after = Rewriter(store, "last")
        for number in (7, 8, 9):
            after.write(_content(number))
            assert store.read("last") == _content(number)
        store.sweep()
        assert [path.name for path in Path(store.path()).iterdir()] == ["last"]
        if not killed:
            break
        steps += 1
    assert steps >= 4


def _content(number: int) -> bytes:
    return str(number).encode() * number * 1000


@pytest.mark.parametrize(("durable", "stays"), [(True, True), (False, False)])
def test_on_a_slow_disk_what_need_not_be_durable_goes_through_the_cache(
    durable: bool, stays: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoft.core.rewriter._FAST_BYTES_PER_SECOND", 1e15)
    rewriter, ways = Rewriter(store, "last", durable=durable), []
    for number in range(3):
        draft = rewriter.draft(room=4096, num_bytes=LARGE_BYTES)
        draft.append(_content(number) * 100)
        ways.append(draft.is_past_cache)
        rewriter.publish(draft, b"x" * 4096)
        assert store.read("last") == b"x" * 4096 + _content(number) * 100
    if not ways[0]:
        pytest.skip("This disk has no way past the page cache.")
    assert ways == [True, stays, stays]


def test_what_is_durable_is_synced_with_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rewriter = Rewriter(store, "best", durable=True)
    steps = steps_of(monkeypatch)
    rewriter.write(b"one")
    last = {step: len(steps) - 1 - steps[::-1].index(step) for step in ("pwrite", "ftruncate", "replace", "fsync")}
    first_replace = steps.index("replace")
    assert last["pwrite"] < last["ftruncate"] < first_replace
    assert "fsync" in steps[last["ftruncate"] : first_replace]
    assert last["replace"] < last["fsync"]


def test_a_draft_that_the_disk_refuses_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rewriter = Rewriter(store, "last")
    rewriter.write(b"one")

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(OSError, match="No space left"):
            rewriter.write(b"two")
    assert hidden(store) == []
    rewriter.write(b"three")
    assert store.read("last") == b"three"
