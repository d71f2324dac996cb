import errno
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from autoft.core import filelock
from autoft.core import mapped as mapped_module
from autoft.core.cache import cache_folder, prepared_limit_bytes
from autoft.core.errors import ConfigError
from autoft.core.jsonable import digest
from autoft.core.mapped import MappedFile
from autoft.core.shelf import Beat, Shelf, Shelved

SCHEMA = pa.schema([("bytes", pa.binary(64)), ("ids", pa.list_(pa.int32()))])
KEY = {"what": "numbers", "code": 1}
ROWS = 40


def batches(count: int = ROWS, *, per_batch: int = 16) -> Iterator[pa.RecordBatch]:
    """Yield `count` rows of numbers that are a function of their place."""
    for start in range(0, count, per_batch):
        rows = range(start, min(start + per_batch, count))
        contents = [np.random.default_rng(row).bytes(64) for row in rows]
        yield pa.record_batch([pa.array(contents, SCHEMA.types[0]), [list(range(row % 5)) for row in rows]], SCHEMA)


EXPECTED = pa.Table.from_batches(batches())


class Counted:
    """Makes the rows, and counts how often."""

    def __init__(self, count: int = ROWS) -> None:
        self.calls = 0
        self._count = count

    def __call__(self, beat: Beat) -> Iterator[pa.RecordBatch]:
        self.calls += 1
        for batch in batches(self._count):
            beat()
            yield batch


def here(folder: Path, **given: Any) -> Shelf:
    return Shelf(folder, **{"limit_bytes": 2**20, "spare_bytes": 0, **given})


def asked(shelf: Shelf, key: dict[str, Any] = KEY, *, count: int = ROWS) -> tuple[Shelved, int]:
    """Return the table of a key, and how often it was made for that."""
    make = Counted(count)
    return shelf.table(key, SCHEMA, make), make.calls


def path_of(folder: Path, key: dict[str, Any] = KEY) -> Path:
    return folder / f"{digest(key)}.arrow"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_table_is_made_once_and_then_mapped(tmp_path: Path) -> None:
    first, made = asked(here(tmp_path))
    again, made_again = asked(here(tmp_path))
    assert (made, made_again) == (1, 0)
    assert first.table.equals(EXPECTED)
    assert again.table.equals(EXPECTED)
    assert again.file is not None
    assert names(tmp_path) == [path_of(tmp_path).name]


def test_a_file_is_plain_arrow_and_says_its_key(tmp_path: Path) -> None:
    asked(here(tmp_path))
    with pa.OSFile(str(path_of(tmp_path))) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.equals(EXPECTED)
    assert table.schema.metadata == {b"autoft": b'{"code":1,"what":"numbers"}'}


def test_a_table_without_rows_is_kept_too(tmp_path: Path) -> None:
    assert asked(here(tmp_path), count=0)[0].table.num_rows == 0
    assert asked(here(tmp_path), count=0)[1] == 0


def test_another_key_is_another_table(tmp_path: Path) -> None:
    asked(here(tmp_path))
    assert asked(here(tmp_path), {**KEY, "code": 2})[1] == 1
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_file_that_is_cut_is_made_again(tmp_path: Path, share: float) -> None:
    asked(here(tmp_path))
    whole = path_of(tmp_path).read_bytes()
    path_of(tmp_path).write_bytes(whole[: int(len(whole) * share)])
    found, made = asked(here(tmp_path))
    assert made == 1
    assert found.table.equals(EXPECTED)
    assert path_of(tmp_path).read_bytes() == whole


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("filling", [b"\0", b"\xa5"])
def test_a_file_with_another_middle_is_made_again(tmp_path: Path, share: float, filling: bytes) -> None:
    asked(here(tmp_path))
    whole = path_of(tmp_path).read_bytes()
    place = int(len(whole) * share)
    path_of(tmp_path).write_bytes(whole[:place] + filling * 64 + whole[place + 64 :])
    found, made = asked(here(tmp_path))
    assert made == 1
    assert found.table.equals(EXPECTED)


def test_a_single_flipped_bit_of_the_rows_is_found(tmp_path: Path) -> None:
    asked(here(tmp_path))
    content = bytearray(path_of(tmp_path).read_bytes())
    place = content.find(EXPECTED["bytes"][20].as_py())
    content[place + 7] ^= 1
    path_of(tmp_path).write_bytes(content)
    found, made = asked(here(tmp_path))
    assert made == 1
    assert found.table.equals(EXPECTED)


@pytest.mark.parametrize("content", [b"\0" * 4096, np.random.default_rng(0).bytes(4096), b"ARROW1\0\0ARROW1"])
def test_a_foreign_file_is_made_again_and_said(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path_of(tmp_path).write_bytes(content)
    found, made = asked(here(tmp_path))
    assert made == 1
    assert found.table.equals(EXPECTED)
    assert [record.message for record in caplog.records] == [
        f"Made again, since it is not whole, or not ours: {path_of(tmp_path)}"
    ]


def test_the_file_of_another_key_under_this_name_is_made_again(tmp_path: Path) -> None:
    other = {**KEY, "code": 2}
    asked(here(tmp_path), other, count=8)
    path_of(tmp_path, other).rename(path_of(tmp_path))
    found, made = asked(here(tmp_path))
    assert made == 1
    assert found.table.equals(EXPECTED)


def test_other_columns_under_the_same_key_are_made_again(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64())])
    here(tmp_path).table(KEY, schema, lambda _: iter([pa.record_batch([pa.array([1])], schema)]))
    assert asked(here(tmp_path))[1] == 1


def test_what_fails_to_be_made_leaves_nothing_and_raises(tmp_path: Path) -> None:
    def broken(_: Beat) -> Iterator[pa.RecordBatch]:
        yield from batches(16)
        raise OSError(errno.EIO, "of a picture's own file")

    with pytest.raises(OSError, match="of a picture's own file"):
        here(tmp_path).table(KEY, SCHEMA, broken)
    assert names(tmp_path) == []
    assert asked(here(tmp_path))[1] == 1


BUILDER = """
    import sys, time
    from pathlib import Path
    from tests.core.test_shelf import KEY, SCHEMA, EXPECTED, batches, here

    folder, made = Path(sys.argv[1]), Path(sys.argv[2])

    def slow(beat):
        with made.open("a") as file:
            file.write("made\\n")
        for batch in batches():
            print("building", flush=True)
            time.sleep(float(sys.argv[3]))
            yield batch

    assert here(folder).table(KEY, SCHEMA, slow).table.equals(EXPECTED)
"""


def started(*arguments: object) -> "subprocess.Popen[str]":
    """Start a process that asks for the table, which takes it so many seconds a batch."""
    command = [sys.executable, "-c", textwrap.dedent(BUILDER), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    folder, made = tmp_path / "shelf", tmp_path / "made"
    both = [started(folder, made, 0.1), started(folder, made, 0.1)]
    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        process.communicate()
    assert made.read_text() == "made\n"
    assert names(folder) == [path_of(folder).name]


def test_a_builder_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    with started(folder, tmp_path / "made", 600) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        builder.kill()
    assert path_of(folder).with_suffix(".lock").exists()
    found, made = asked(here(folder))
    assert made == 1
    assert found.table.equals(EXPECTED)


def test_who_waits_gives_signs_of_life_and_waits_for_no_silent_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(filelock, "SILENT_SECONDS", 0.5)
    beats: list[float] = []
    with started(tmp_path, tmp_path / "made", 600) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        found = here(tmp_path).table(KEY, SCHEMA, Counted(), heartbeat=lambda: beats.append(time.monotonic()))
        builder.kill()
    assert found.file is None
    assert found.table.equals(EXPECTED)
    assert len(beats) > 4
    assert "the process that prepares them is silent" in caplog.text


def test_the_tables_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    def ask(number: int) -> int:
        return asked(shelf, {"number": number}, count=2000)[1]

    shelf = here(tmp_path)
    ask(0)
    size = path_of(tmp_path, {"number": 0}).stat().st_size
    limit_bytes = int(4.5 * size)
    shelf = here(tmp_path, limit_bytes=limit_bytes)
    for number in (1, 2):
        ask(number)
    for age, number in enumerate((1, 2, 0)):
        os.utime(path_of(tmp_path, {"number": number}), (age, age))
    assert ask(1) == 0
    for number in (3, 4, 5):
        assert ask(number) == 1
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit_bytes
    assert names(tmp_path) == sorted(path_of(tmp_path, {"number": number}).name for number in (1, 3, 4, 5))


def test_using_a_table_makes_it_young(tmp_path: Path) -> None:
    asked(here(tmp_path))
    os.utime(path_of(tmp_path), (60, 60))
    asked(here(tmp_path))
    assert time.time() - path_of(tmp_path).stat().st_mtime < 60


def test_a_table_that_is_removed_stays_readable_by_who_has_it(tmp_path: Path) -> None:
    found, _ = asked(here(tmp_path))
    path_of(tmp_path).unlink()
    assert found.file is not None
    found.file.release()
    assert found.table.equals(EXPECTED)


def test_a_table_larger_than_the_limit_is_held_in_memory_and_removes_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked(here(tmp_path))
    shelf = here(tmp_path, limit_bytes=60_000)
    make = Counted(1000)
    found = shelf.table({"large": 1}, SCHEMA, make, num_bytes=64_000)
    assert found.file is None
    assert found.table.equals(pa.Table.from_batches(batches(1000)))
    assert make.calls == 1
    assert names(tmp_path) == [path_of(tmp_path).name]
    assert asked(shelf, {"large": 2}, count=1000)[1] == 2
    told = f"Prepared data are held in memory, not kept in {tmp_path}: they may take no more than "
    assert [record.message for record in caplog.records] == [f"{told}5.59e-05 GiB there (AUTOFT_CACHE_GB)."]


def test_with_a_limit_of_0_nothing_is_written(tmp_path: Path) -> None:
    found, made = asked(here(tmp_path / "shelf", limit_bytes=0))
    assert (found.file, made) == (None, 1)
    assert found.table.equals(EXPECTED)
    assert not (tmp_path / "shelf").exists()


def test_a_disk_that_would_be_full_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = asked(here(tmp_path, spare_bytes=2**60))
    assert found.file is None
    assert found.table.equals(EXPECTED)
    assert names(tmp_path) == []
    assert "its disk would have less than 1.07e+09 GiB free" in caplog.text


FULL = """
    import logging, resource, signal, sys
    from pathlib import Path
    from tests.core.test_shelf import EXPECTED, asked, here

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    shelf = here(Path(sys.argv[1]))
    for code in (1, 2):
        found, made = asked(shelf, {"code": code})
        assert (found.file, made) == (None, 2), (found.file, made)
        assert found.table.equals(EXPECTED)
"""


@pytest.mark.parametrize("num_bytes", [0, 100, 1500, 4000])
def test_a_disk_that_refuses_more_is_said_once_and_the_rows_are_held_in_memory(tmp_path: Path, num_bytes: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path), str(num_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Prepared data are held in memory, not kept in {tmp_path}: File too large.\n"
    assert names(tmp_path) == []


@pytest.mark.parametrize("below", ["file", "file/deep"])
def test_a_folder_that_cannot_be_made_is_said_and_the_rows_are_held_in_memory(
    tmp_path: Path, below: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    found, made = asked(here(tmp_path / below))
    assert (found.file, made) == (None, 1)
    assert found.table.equals(EXPECTED)
    assert len(caplog.records) == 1


def test_what_killed_builders_left_is_swept_and_what_live_ones_write_is_not(tmp_path: Path) -> None:
    ages = {"killed.1.part": 2000, "killed.lock": 2000, "slow.2.part": 2000, "slow.lock": 1, "new.3.part": 0}
    for name, age in ages.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    asked(here(tmp_path))
    assert names(tmp_path) == sorted([path_of(tmp_path).name, "slow.2.part", "slow.lock", "new.3.part"])


def mapped_bytes(path: Path) -> int:
    """Return what of a file is mapped into this process's memory now."""
    total, is_of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_of_file = line.endswith(f" {path}")
        elif is_of_file and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.parametrize("read", [2**10, 2**20])
def test_pages_that_were_read_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int) -> None:
    monkeypatch.setattr(mapped_module, "RELEASE_BYTES", 2**25)
    path, size = tmp_path / "large", 2**28
    with path.open("wb") as file:
        file.truncate(size)
    path.read_bytes()  # into the system's cache, in pieces as large as it likes
    mapped, most = MappedFile(path), 0
    view = np.frombuffer(mapped.buffer, dtype=np.uint8)
    for start in np.random.default_rng(0).permutation(size // 2**20) * 2**20:
        assert not view[start : start + read].any()
        mapped.was_read(read)
        most = max(most, mapped_bytes(path))
    assert 0 < most < 2**26


@pytest.mark.parametrize(("given", "expected"), [("0", 0), ("1.5", 3 * 2**29), ("200", 200 * 2**30)])
def test_the_limit_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, given: str, expected: int) -> None:
    monkeypatch.setenv("AUTOFT_CACHE_GB", given)
    assert prepared_limit_bytes() == expected


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("AUTOFT_CACHE_GB", given)
    with pytest.raises(ConfigError, match=f"AUTOFT_CACHE_GB is '{given}'; give the gibibytes"):
        prepared_limit_bytes()


def test_by_default_a_fifth_of_the_disk_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOFT_CACHE_GB", raising=False)
    assert 0 < prepared_limit_bytes() <= 64 * 2**30


def test_tests_keep_nothing_in_the_persons_own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert cache_folder() == tmp_path_factory.getbasetemp() / "autoft-cache"
