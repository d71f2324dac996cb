"""A file that nobody reads yet: its bytes are those that were written, by whatever way they go to the disk."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.draft import ALIGNMENT, Draft, direct_buffer
from tests.kills import steps_of

BUFFER = direct_buffer()
LENGTHS = st.sampled_from([0, 1, 511, 4096, 70_000, 2**22 - 1, 2**22, 2**22 + 1, 2**23 + 5])


def content(length: int, seed: int) -> bytes:
    return (bytes((seed + number) % 251 for number in range(997)) * (length // 997 + 1))[:length]


@given(
    lengths=st.lists(LENGTHS, max_size=4),
    rooms=st.integers(0, 3),
    past_cache=st.booleans(),
    old=st.none() | st.integers(0, 2**25),
)
@settings(max_examples=40, deadline=None)
def test_the_file_is_its_beginning_and_what_was_appended_whatever_was_there(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    rooms: int,
    past_cache: bool,
    old: int | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "draft"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(b"o" * old)
    parts = [content(length, seed) for seed, length in enumerate(lengths)]
    first = content(rooms * ALIGNMENT, 7)
    draft = Draft(path, room=len(first), buffer=BUFFER if past_cache else None)
    for part in parts:
        draft.append(memoryview(part), b"")
    draft.settle()
    draft.finish(first)
    draft.close()
    assert path.read_bytes() == first + b"".join(parts)
    assert draft.size == path.stat().st_size


@pytest.mark.skipif(BUFFER is None, reason="This system has no way past the page cache.")
@pytest.mark.parametrize("refusing", ["open", "pwrite"])
def test_a_disk_that_knows_no_way_past_the_cache_is_written_to_through_it(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct: set[int] = set()
    originals = {"open": os.open, "pwrite": os.pwrite}

    def opened(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECT and refusing == "open":
            raise OSError(errno.EINVAL, "Invalid argument")
        handle = originals["open"](path, flags & ~os.O_DIRECT, *rest)
        (direct.add if flags & os.O_DIRECT else direct.discard)(handle)
        return handle

    def written(handle: int, *arguments: Any) -> int:
        if handle in direct:
            raise OSError(errno.EINVAL, "Invalid argument")
        return originals["pwrite"](handle, *arguments)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "pwrite", written)
    draft = Draft(tmp_path / "draft", room=ALIGNMENT, buffer=BUFFER)
    draft.append(content(9_500_000, 1), b"end")
    draft.finish(b"f" * ALIGNMENT)
    assert not draft.is_past_cache
    assert (tmp_path / "draft").read_bytes() == b"f" * ALIGNMENT + content(9_500_000, 1) + b"end"


@pytest.mark.parametrize("buffer", [None, BUFFER], ids=["through", "past"])
def test_another_refusal_is_the_callers(
    buffer: memoryview | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    draft = Draft(tmp_path / "draft", buffer=buffer)
    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError, match="No space left"):
        draft.append(bytes(5 << 20))
    draft.close()
    with pytest.raises(FileNotFoundError):
        Draft(tmp_path / "none" / "draft", buffer=buffer)


@pytest.mark.parametrize("buffer", [None, BUFFER], ids=["through", "past"])
@pytest.mark.parametrize("durable", [False, True])
def test_what_is_durable_is_synced_after_the_last_byte(
    durable: bool, buffer: memoryview | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_of(monkeypatch)
    draft = Draft(tmp_path / "draft", room=ALIGNMENT, buffer=buffer, durable=durable)
    draft.append(bytes(9 << 20))
    draft.settle()
    early = steps.count("fsync")
    draft.finish(bytes(ALIGNMENT))
    assert early == durable
    assert (steps[-1] == "fsync") == durable
    assert "pwrite" in steps


def test_no_write_is_larger_than_what_a_system_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoft.core.draft._MOST_BYTES", 1000)
    written, original = [], os.pwrite

    def pwrite(handle: int, data: memoryview, place: int) -> int:
        written.append(len(data))
        return original(handle, data, place)

    monkeypatch.setattr(os, "pwrite", pwrite)
    draft = Draft(tmp_path / "draft")
    draft.append(content(2500, 3))
    draft.finish()
    assert written == [1000, 1000, 500]
    assert (tmp_path / "draft").read_bytes() == content(2500, 3)
