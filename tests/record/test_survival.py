"""Kills, torn files, full disks and damage: what was acknowledged is there, in order and once, or it is said."""

import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from autoft.core.errors import ConfigError, FormatError, WorkError
from autoft.core.storage import Store
from autoft.record import RecordWriter, follow, read_events, read_record
from autoft.record.journal import HEADER, segment_name
from tests.record.making import Refusing, files, seqs, small_search, write_flushes
from tests.s3 import Server, seeded


def note(text: str) -> dict[str, str]:
    return {"event": "note", "text": text}


def write_notes(store: Store, *texts: str) -> None:
    with RecordWriter(store, clock=lambda: 1.5) as opened:
        for text in texts:
            opened.append(note(text))
            opened.flush()


def number_of(writer: RecordWriter) -> int:
    assert writer._claim is not None
    return writer._claim.number


def object_store(filesystem: fs.FileSystem) -> Store:
    return Store(filesystem, "run", False)


def test_a_journal_cut_at_any_byte_loses_only_what_was_cut_and_goes_on(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    write_notes(store, "a", "b")
    write_notes(store, "c", "d")
    journal = tmp_path / "run/results/journal-000000000003.log"
    whole = journal.read_bytes()
    frame = (len(whole) - len(HEADER)) // 2
    for cut in range(len(whole) + 1):
        journal.write_bytes(whole[:cut])
        kept = max(0, cut - len(HEADER)) // frame
        assert read_record(store).notes == ("a", "b", "c", "d")[: 2 + kept]
        write_notes(store, "e")
        assert read_record(store).notes == (*("a", "b", "c", "d")[: 2 + kept], "e")
        assert seqs(store) == list(range(1, 4 + kept))
        (tmp_path / f"run/results/journal-{3 + kept:012d}.log").unlink()


def test_an_object_torn_at_any_byte_loses_only_what_was_torn_and_goes_on():
    for cut in range(200):
        store = object_store(fs._MockFileSystem())
        write_notes(store, "a")
        write_notes(store, "b")
        name = "results/journal-000000000002-000002.log"
        whole = store.read(name)
        store.write(name, whole[:cut])
        kept = ("a", "b")[: 2 if cut >= len(whole) else 1]
        assert read_record(store).notes == kept
        write_notes(store, "c")
        assert read_record(store).notes == (*kept, "c")
        if cut >= len(whole):
            break


def test_a_follower_goes_on_across_a_torn_tail_and_a_new_writer(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    write_notes(store, "a")
    reader = follow(store)
    journal = tmp_path / "run/results/journal-000000000001.log"
    with journal.open("ab") as file:
        file.write(journal.read_bytes()[len(HEADER) :][:20])
    assert reader.refresh().notes == ("a",)
    write_notes(store, "b")
    assert reader.refresh().notes == ("a", "b")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["append", "flush", "seal", "kill"]), max_size=25), st.booleans(), st.integers(0, 60))
def test_whatever_the_order_of_kills_and_seals_nothing_acknowledged_is_lost(
    steps: list[str], tears: bool, torn_bytes: int
):
    store = object_store(fs._MockFileSystem())
    appended, acknowledged = [], 0
    writer = RecordWriter(store)
    for number, step in enumerate(steps):
        if step == "append":
            writer.append(note(str(number)))
            appended.append(str(number))
        elif step == "kill":
            if tears and appended[acknowledged:]:
                store.write(
                    f"results/{segment_name(acknowledged + 1, writer=number_of(writer))}",
                    (HEADER + b"x" * 60)[:torn_bytes],
                )
            del appended[acknowledged:]
            writer = RecordWriter(store)
        else:
            writer.flush() if step == "flush" else writer.seal()
            acknowledged = len(appended)
        assert list(read_record(store).notes) == appended[:acknowledged]
    assert seqs(store) == list(range(1, acknowledged + 1))


@pytest.mark.parametrize("torn_bytes", [0, 1, 30, 200])
@pytest.mark.parametrize("seals_before", [0, 1, 2])
def test_a_seal_that_breaks_off_at_any_step_loses_nothing(torn_bytes: int, seals_before: int):
    for step in range(40):
        real = fs._MockFileSystem()
        refusing = Refusing(real, torn_bytes=torn_bytes)
        writer = RecordWriter(object_store(fs.PyFileSystem(refusing)))
        flushes = small_search()
        for _ in range(seals_before):
            write_flushes(writer, [flushes.pop(0)])
            writer.seal()
        write_flushes(writer, flushes)
        reader = follow(object_store(real))
        before = reader.refresh()
        events = list(read_events(object_store(real)))
        refusing.left = step
        try:
            writer.seal()
            broke = False
        except OSError:
            broke = True
        assert list(read_events(object_store(real))) == events
        assert reader.refresh().decisions == before.decisions
        with RecordWriter(object_store(real)) as again:
            again.append(note("afterwards"))
            again.seal()
        assert list(read_events(object_store(real)))[:-1] == events
        assert not [name for name in files(object_store(real)) if name.startswith("journal-")]
        assert len([name for name in files(object_store(real)) if name.startswith("sealed-")]) == 1
        if not broke:
            assert step > 5
            return
    pytest.fail("The seal never came to its end.")


KILLED_SEAL = """
    import os, sys
    from pathlib import Path
    from autoft.core.storage import Store
    from autoft.record import RecordWriter
    from tests.record.making import small_search, write_flushes

    folder, changes = sys.argv[1], {"os.rename", "os.remove", "os.truncate", "tempfile.mkstemp", "os.mkdir"}
    for step in range(60):
        if (child := os.fork()) == 0:
            left = [step]
            with RecordWriter(Store.open(f"{folder}/{step}")) as writer:
                write_flushes(writer, [sum(small_search(), [])])

                def kill_at_last(event, arguments):
                    if event in changes:
                        left[0] -= 1
                        if left[0] < 0:
                            os._exit(9)

                sys.addaudithook(kill_at_last)
                writer.seal()
                os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
    print(step)
"""


def test_a_seal_killed_before_any_change_to_a_local_disk_loses_nothing(tmp_path: Path):
    done = run_python(KILLED_SEAL, str(tmp_path))
    steps = int(done.stdout)
    assert steps > 8
    num_events = sum(map(len, small_search()))
    for step in range(steps + 1):
        store = Store.open(tmp_path / str(step))
        assert seqs(store) == list(range(1, num_events + 1)), step
        with RecordWriter(store) as writer:
            writer.append(note("afterwards"))
            writer.seal()
        assert seqs(store) == list(range(1, num_events + 2)), step
        assert not [path for path in (tmp_path / str(step) / "results").glob(".*") if path.name != ".lock"]


ENDLESS_WRITER = """
    import sys
    from autoft.core.storage import Store
    from autoft.record import RecordWriter

    writer = RecordWriter(Store.open(sys.argv[1]))
    while True:
        for _ in range(3):
            seq = writer.append({"event": "note", "text": "x" * 5000})
        writer.flush()
        if seq % 30 == 0:
            writer.seal()
        print(seq, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 17, 60])
def test_what_flush_acknowledged_survives_sigkill(tmp_path: Path, lines: int):
    store = Store.open(tmp_path / "run")
    with start_python(ENDLESS_WRITER, str(tmp_path / "run")) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
    found = seqs(store)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= acknowledged[-1]
    write_notes(store, "afterwards")
    assert seqs(store) == list(range(1, len(found) + 2))


def test_a_run_has_one_writing_process_and_its_death_frees_it(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    with start_python(ENDLESS_WRITER, str(tmp_path / "run")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ConfigError, match="Another process is writing the run in"):
            RecordWriter(store)
        assert seqs(store)
        process.kill()
        process.stdout.read()
    RecordWriter(store).close()


READING = """
import sys

from autoft.core.storage import Store
from autoft.record import follow, read_events, read_record

folder, changes = sys.argv[1], []
READ_ONLY = {"open", "os.listdir", "os.scandir"}


def audit(event, arguments):
    names = [str(argument) for argument in arguments]
    if event == "open" and folder in names[0] and not (arguments[1] in (None, "r", "rb") and not arguments[2] & 0o3):
        changes.append([event, *names])
    elif event.split(".")[0] in ("os", "shutil", "tempfile", "fcntl") and event not in READ_ONLY:
        changes.append([event, *names])


store = Store.open(folder)
read_record(store)
sys.addaudithook(audit)
follower = follow(store)
print(follower.refresh().last_seq, read_record(store).last_seq, len(list(read_events(store))), flush=True)
sys.stdin.readline()
print(follower.refresh().last_seq, changes)
"""


def test_a_reader_opens_nothing_for_writing_locks_nothing_and_leaves_every_file_as_it_was(tmp_path: Path):
    run = tmp_path / "run"
    store = Store.open(run)

    def files_now() -> dict[str, tuple[int, int, int]]:
        found = {str(path): path.stat() for path in (run, *run.rglob("*"))}
        return {name: (one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found.items()}

    with RecordWriter(store) as writer:
        write_flushes(writer, small_search())
        writer.seal()
        write_flushes(writer, [[note("a")]])
        last = writer.record.last_seq
        before = files_now()
        code = textwrap.dedent(READING)
        with subprocess.Popen(
            [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline().split() == [str(last)] * 3
            assert files_now() == before
            write_flushes(writer, [[note("while it reads")]])
            writer.seal()
            before = files_now()
            process.stdin.write("\n")
            process.stdin.close()
            assert process.stdout.read() == f"{last + 1} []\n"
            assert files_now() == before


def test_on_an_object_store_the_older_of_two_writers_stops_and_the_newer_goes_on():
    store = object_store(fs._MockFileSystem())
    older = RecordWriter(store)
    write_flushes(older, [[note("a")]])
    newer = RecordWriter(store)
    older.append(note("lost"))
    for _ in range(2):
        with pytest.raises(
            WorkError, match=r"Another process \(\d+ on .*, since .*\) is writing the run in .*; this one"
        ):
            older.flush()
    write_flushes(newer, [[note("b")], [note("c")]])
    newer.seal()
    write_flushes(newer, [[note("d")]])
    assert read_record(store).notes == ("a", "b", "c", "d")
    with pytest.raises(WorkError, match="this one stops"):
        older.close()


@pytest.mark.parametrize("seals", [False, True])
def test_what_an_older_writer_writes_late_overwrites_nothing_of_the_newer(seals: bool):
    store = object_store(fs._MockFileSystem())
    older = RecordWriter(store)
    write_flushes(older, [[note("a")]])
    newer = RecordWriter(store)
    write_flushes(newer, [[note("b")], [note("c")]])
    if seals:
        newer.seal()
    older.append(note("late"))
    with pytest.raises(WorkError):
        older.flush()  # it has written by then, as one does whose request was under way
    assert read_record(store).notes == ("a", "b", "c")
    write_flushes(newer, [[note("d")]])
    with RecordWriter(store) as newest:
        write_flushes(newest, [[note("e")]])
        newest.seal()
    assert read_record(store).notes == ("a", "b", "c", "d", "e")
    assert not [name for name in files(store) if name.startswith("journal-")]


def test_what_an_older_writer_has_acknowledged_the_newer_has_read():
    store = object_store(fs._MockFileSystem())
    older = RecordWriter(store)
    write_flushes(older, [[note("a")], [note("b")]])
    newer = RecordWriter(store)
    assert newer.record.notes == ("a", "b")
    older.append(note("late"))
    with pytest.raises(WorkError):
        older.flush()
    assert newer.record.notes == ("a", "b")


def test_a_seal_of_an_older_writer_that_comes_late_changes_nothing():
    store = object_store(fs._MockFileSystem())
    older = RecordWriter(store)
    write_flushes(older, [[note("a")], [note("b")]])
    newer = RecordWriter(store)
    write_flushes(newer, [[note("c")]])
    with pytest.raises(WorkError, match="this one stops"):
        older.seal()
    assert read_record(store).notes == ("a", "b", "c")
    newer.seal()
    assert read_record(store).notes == ("a", "b", "c")
    assert len([name for name in files(store) if name.startswith("sealed-")]) == 1


def test_on_s3_a_flush_is_two_requests_and_a_seal_removes_what_it_replaces(s3: Server):
    store = Store.open(s3.uri("run"))
    with RecordWriter(store) as writer:
        for number in range(3):
            writer.append(note(str(number)))
            with s3.counted() as requests:
                writer.flush()
            assert [request.method for request in requests] == ["PUT", "GET"]
        reader = follow(store)
        assert reader.refresh().notes == ("0", "1", "2")
        writer.seal()
        assert not [name for name in files(store) if name.startswith("journal-")]
        assert reader.refresh().notes == read_record(store).notes == ("0", "1", "2")


def test_on_s3_a_record_is_written_and_read_live_through_failures(s3: Server):
    store = Store.open(s3.uri("run"))
    with s3.failing(seeded(2, 0.1, ("500", "503", "cut"))):
        writer = RecordWriter(store)
        reader = follow(store)
        for number in range(12):
            writer.append(note(str(number)))
            writer.flush()
            assert reader.refresh().notes == tuple(map(str, range(number + 1)))
        writer.seal()
        assert read_record(store).notes == tuple(map(str, range(12)))
    assert s3.num_mishaps > 5
    assert seqs(store) == list(range(1, 13))


def test_a_full_local_disk_is_said_and_leaves_the_record_readable(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    with RecordWriter(store) as writer:
        write_flushes(writer, [[note("a")]])
        size = (tmp_path / "run/results/journal-000000000001.log").stat().st_size
        writer.append(note("b" * 300))
        with limited_file_size(size + 100), pytest.raises(OSError, match="File too large"):
            writer.flush()
        assert read_record(store).notes == ("a",)
        assert (tmp_path / "run/results/journal-000000000001.log").stat().st_size == size
        writer.append(note("c"))
        writer.flush()
        assert read_record(store).notes == ("a", "b" * 300, "c")


@pytest.mark.parametrize("torn_bytes", [0, 5, 25, 60])
def test_a_full_object_store_is_said_and_leaves_the_record_readable(torn_bytes: int):
    real = fs._MockFileSystem()
    refusing = Refusing(real, torn_bytes=torn_bytes)
    writer = RecordWriter(object_store(fs.PyFileSystem(refusing)))
    write_flushes(writer, [[note("a")]])
    writer.append(note("b"))
    refusing.left = 0
    with pytest.raises(OSError, match="No space left on device"):
        writer.flush()
    assert read_record(object_store(real)).notes == ("a",)
    refusing.left = None
    writer.append(note("c"))
    writer.close()
    assert read_record(object_store(real)).notes == ("a", "b", "c")


def test_a_flipped_byte_in_what_was_acknowledged_is_said_with_its_place(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    write_notes(store, "a", "b", "c")
    journal = tmp_path / "run/results/journal-000000000001.log"
    whole = journal.read_bytes()
    frame = (len(whole) - len(HEADER)) // 3
    for place in range(len(HEADER) + frame, len(HEADER) + 2 * frame, 23):
        journal.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(FormatError, match=rf"event 2 is missing at byte {len(HEADER) + frame} of journal-0+1\.log"):
            read_record(store)


def test_a_lost_segment_is_said(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    for text in "abc":
        write_notes(store, text)
    (tmp_path / "run/results/journal-000000000002.log").unlink()
    with pytest.raises(FormatError, match="event 2 is missing"):
        read_record(store)


@pytest.mark.parametrize(
    "harm",
    [lambda data: data[:-1], lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], lambda data: b""],
    ids=["cut", "flipped", "empty"],
)
def test_a_damaged_parquet_file_is_said_by_name(tmp_path: Path, harm: Callable[[bytes], bytes]):
    store = Store.open(tmp_path / "run")
    with RecordWriter(store) as writer:
        write_flushes(writer, small_search())
        writer.seal()
    (path,) = (tmp_path / "run/results").glob("epochs-*.parquet")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(FormatError, match=r"epochs-\d+-\d+\.parquet is damaged"):
        read_record(store)


def test_a_lost_parquet_file_is_said_by_name(tmp_path: Path):
    store = Store.open(tmp_path / "run")
    with RecordWriter(store) as writer:
        write_flushes(writer, small_search())
        writer.seal()
    next((tmp_path / "run/results").glob("epochs-*.parquet")).unlink()
    with pytest.raises(FormatError, match=r"epochs-\d+-\d+\.parquet"):
        read_record(store)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, check=True
    )


def start_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )


class limited_file_size:  # noqa: N801
    """A disk that holds no file larger than so many bytes: the kernel cuts a write there and refuses the next."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        signal.signal(signal.SIGXFSZ, self.handler)
