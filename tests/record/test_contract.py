"""The contract of the record, on a local disk and on object stores: append, follow, refuse what cannot be read."""

import math
import threading

import pytest

from autoft.core.errors import FormatError
from autoft.core.storage import Store
from autoft.record import RecordWriter, follow, read_events, read_record
from autoft.record.events import KEYS
from autoft.record.model import EpochRows
from autoft.record.sealed import SealedTable
from tests.record.making import decided, ended, epoch, files, seqs, small_search, started, write_flushes


def test_what_is_flushed_is_read_back_in_order(store: Store):
    flushes = small_search()
    with RecordWriter(store) as writer:
        write_flushes(writer, flushes)
        expected = [event for events in flushes for event in events]
        found = list(read_events(store))
    assert [event["seq"] for event in found] == list(range(1, len(expected) + 1))
    assert [event["event"] for event in found] == [event["event"] for event in expected]
    assert found[1]["reason"] == "because"
    assert found[2]["config"] == expected[2]["config"]


def test_a_seal_changes_no_event(store: Store):
    with RecordWriter(store) as writer:
        for events in small_search():
            write_flushes(writer, [events])
            before = list(read_events(store))
            writer.seal()
            assert list(read_events(store)) == before


def test_a_sealed_record_says_what_the_journal_said(store: Store):
    with RecordWriter(store) as writer:
        write_flushes(writer, small_search())
        before = read_record(store)
        writer.seal()
        after = read_record(store)
    assert not [name for name in files(store) if name.startswith("journal-")]
    assert [row.epochs for row in after.trials] == [row.epochs for row in before.trials]
    assert [row.status for row in after.trials] == [row.status for row in before.trials]
    assert [row.config for row in after.trials] == [row.config for row in before.trials]
    assert [row.assignment for row in after.trials] == [row.assignment for row in before.trials]
    assert after.decisions == before.decisions
    assert (after.notes, after.test, after.seconds_used) == (before.notes, before.test, before.seconds_used)
    assert (after.searches, after.last_seq) == (before.searches, before.last_seq)


@pytest.mark.parametrize("sealed_after", [0, 1, 2, 3])
def test_a_test_counts_until_its_trial_learns_more(store: Store, sealed_after: int):
    test = {"event": "test", "trial": "t0001", "metrics": {"accuracy": 0.625}}
    steps = [[started("t0001"), epoch("t0001", 1, 0.5), test], [epoch("t0002", 1, 0.75)], [epoch("t0001", 2, 0.75)]]
    steps[1].insert(0, started("t0002"))
    found = []
    with RecordWriter(store) as writer:
        for number, events in enumerate(steps, start=1):
            write_flushes(writer, [events])
            if sealed_after in (0, number):
                writer.seal()
            assert writer.record.test == read_record(store).test
            found.append(read_record(store).test)
    tested = {"trial": "t0001", "metrics": {"accuracy": 0.625}}
    assert found == [tested, tested, None]


def test_the_writers_own_record_is_what_a_reader_sees(store: Store):
    with RecordWriter(store) as writer:
        for index, events in enumerate(small_search()):
            write_flushes(writer, [events])
            if index % 3 == 1:
                writer.seal()
            own, read = writer.record, read_record(store)
            assert [(row.trial, row.status, row.epochs) for row in own.trials] == [
                (row.trial, row.status, row.epochs) for row in read.trials
            ]
            assert own.decisions == read.decisions


def test_the_writer_holds_what_is_sealed_as_columns(store: Store):
    with RecordWriter(store) as writer:
        for index, events in enumerate(small_search()):
            write_flushes(writer, [events])
            before = writer.record
            if index % 3 == 1:
                writer.seal()
                own = writer.record
                assert own.recent_epochs == ()
                assert all(isinstance(part, SealedTable) for part in own.decision_sources)
                assert all(isinstance(part, EpochRows) for row in own.trials for part in row.curve)
                assert all(isinstance(source, str) for row in own.trials for source in row.sources)
            assert [row.epochs for row in writer.record.trials] == [row.epochs for row in before.trials]
            assert [row.config for row in writer.record.trials] == [row.config for row in before.trials]
            assert [row.assignment for row in writer.record.trials] == [row.assignment for row in before.trials]
            assert writer.record.decisions == before.decisions


@pytest.mark.parametrize("seal_every", [1, 2, 3, 100])
def test_a_follower_sees_all_whenever_it_looks(store: Store, seal_every: int):
    with RecordWriter(store) as writer:
        reader = follow(store)
        for index, events in enumerate(small_search()):
            write_flushes(writer, [events])
            if index % 2 == 0:
                assert reader.refresh().last_seq == writer.record.last_seq
            if index % seal_every == 0:
                writer.seal()
        assert [row.epochs for row in reader.refresh().trials] == [row.epochs for row in writer.record.trials]
        assert reader.refresh().decisions == writer.record.decisions


def test_a_new_writer_goes_on_behind_the_last_event(store: Store):
    flushes = small_search()
    for index, events in enumerate(flushes):
        with RecordWriter(store) as writer:
            write_flushes(writer, [events])
            if index == 4:
                writer.seal()
    assert seqs(store) == list(range(1, sum(map(len, flushes)) + 1))


def test_readers_meet_a_writer_that_seals_all_the_time(store: Store):
    done = threading.Event()

    def write() -> None:
        with RecordWriter(store) as writer:
            started_event.set()
            writer.append(started("t0001"))
            for number in range(1, 61):
                writer.append(epoch("t0001", number, 0.5))
                writer.flush()
                if number % 3 == 0:
                    writer.seal()
        done.set()

    started_event = threading.Event()
    thread = threading.Thread(target=write)
    thread.start()
    started_event.wait()
    reader, last = follow(store), 0
    while not done.is_set():
        found = seqs(store)
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= last
        last = len(found)
        record = reader.refresh()
        if record.trials:
            assert [result.epoch for result in record.trials[0].epochs] == list(range(1, record.last_seq))
    thread.join()
    assert len(reader.refresh().trials[0].epochs) == 60


def test_an_unflushed_event_is_not_read(store: Store):
    with RecordWriter(store) as writer:
        writer.append({"event": "note", "text": "later"})
        assert seqs(store) == []
        writer.flush()
        assert seqs(store) == [1]


def test_numbers_that_are_not_finite_become_null_and_never_enter_json(store: Store):
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        event = epoch("t0001", 1, math.nan, "diverged", val_loss=math.inf, odd=-math.inf, parameters=math.nan)
        event["result"] |= {"learning_rate": math.inf, "timings": {"data": math.nan}}
        writer.append(event)
        writer.append({"event": "test", "trial": "t0001", "metrics": {"roc_auc": {"value": math.nan}}})
        writer.flush()
        for _ in ("journal", "sealed"):
            record = read_record(store)
            (result,) = record.trials[0].epochs
            nothing = dict.fromkeys(("val_accuracy", "val_loss", "odd", "parameters"))
            assert result.metrics == {**nothing, "train_loss": 1.0}
            assert (result.learning_rate, result.timings) == (None, {"data": None})
            assert record.test == {"trial": "t0001", "metrics": {"roc_auc": {"value": None}}}
            writer.seal()
        with pytest.raises(ValueError, match="JSON compliant"):
            writer.append(started("t0002", lr=math.nan))
        assert writer.append({"event": "note", "text": "the next"}) == 4


def test_whole_and_real_numbers_stay_what_they_are_through_a_seal(store: Store):
    with RecordWriter(store) as writer:
        writer.append(started("t0001", batch_size=32, lr=1e-05, name="x", flag=True, nothing=None))
        writer.append(epoch("t0001", 1, 1, parameters=11_000_000.0, latency_ms=2))
        for _ in ("journal", "sealed"):
            writer.flush()
            metrics = read_record(store).trials[0].epochs[0].metrics
            assert {name: type(value) for name, value in metrics.items()} == {
                "val_accuracy": float,
                "train_loss": float,
                "parameters": int,
                "latency_ms": float,
            }
            assert read_record(store).trials[0].assignment["batch_size"] == 32
            writer.seal()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "epoc"}, "Unknown kind of event 'epoc'; allowed: search, trial"),
        ({"event": "decision", "number": 1, "action": "wait"}, "'decision' lacks trial, until_epoch, reason"),
        (epoch("t0009", 1, 0.5), "tells of trial 't0009', which never started"),
        (ended("t0009", "failed"), "tells of trial 't0009', which never started"),
        ({"event": "epoch", "trial": "t0001", "result": {"epoch": 1}}, "the event is incomplete"),
    ],
)
def test_an_event_that_cannot_be_read_back_is_refused_and_takes_no_number(store: Store, event: dict, said: str):
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        with pytest.raises(ValueError, match=said):
            writer.append(event)
        assert writer.append({"event": "note", "text": "next"}) == 2
    assert seqs(store) == [1, 2]


def test_text_that_utf8_cannot_hold_is_recorded_all_the_same(store: Store):
    with RecordWriter(store) as writer:
        writer.append({"event": "note", "text": "broken \ud800 file name"})
        writer.seal()
    assert read_record(store).notes == ("broken ? file name",)


def test_an_epoch_trained_again_replaces_itself_and_what_followed(store: Store):
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        for number, accuracy in ((1, 0.1), (2, 0.2), (3, 0.9)):
            writer.append(epoch("t0001", number, accuracy))
        writer.append(epoch("t0001", 2, 0.3))
        writer.flush()
        for _ in ("journal", "sealed"):
            epochs = read_record(store).trials[0].epochs
            assert [(result.epoch, result.metrics["val_accuracy"]) for result in epochs] == [(1, 0.1), (2, 0.3)]
            writer.seal()


def test_a_continue_decision_says_until_when_a_trial_goes_on(store: Store):
    with RecordWriter(store) as writer:
        write_flushes(writer, [[started("t0001")], [decided(1, "continue", "t0001", 9)]])
        assert read_record(store).trials[0].until_epoch == 9
        writer.seal()
        assert read_record(store).trials[0].until_epoch == 9


def test_the_last_epoch_ends_a_trial_until_a_status_says_otherwise(store: Store):
    with RecordWriter(store) as writer:
        writer.append(started("t0001"))
        writer.append(epoch("t0001", 1, 0.5, "early_stopped"))
        writer.flush()
        assert read_record(store).trials[0].status == "completed"
        writer.append(ended("t0001", "pruned", "below the rung"))
        writer.seal()
        row = read_record(store).trials[0]
        assert (row.status, row.reason) == ("pruned", "below the rung")


def test_a_folder_that_is_no_run_is_refused(store: Store):
    for place in (store, store.within("missing")):
        with pytest.raises(FormatError, match=r"(run|missing)' is no autoft run"):
            read_record(place)
    store.write("results/notes.txt", b"not ours")
    with pytest.raises(FormatError, match="is no autoft run"):
        read_record(store)


def test_a_journal_of_a_newer_format_is_refused(store: Store):
    store.write("results/journal-000000000001.log", b"autoft journal 0002\n")
    with pytest.raises(FormatError, match="format 2, this autoft reads up to 1; upgrade autoft"):
        read_record(store)
    with pytest.raises(FormatError, match="format 2"):
        RecordWriter(store)


def test_a_file_that_only_looks_like_a_journal_is_refused(store: Store):
    store.write("results/journal-000000000001.log", b"Lorem ipsum dolor sit amet")
    with pytest.raises(FormatError, match="is no autoft journal"):
        read_record(store)


def test_a_run_without_events_is_readable_from_the_start(store: Store):
    with RecordWriter(store):
        record = read_record(store)
    assert (record.trials, record.decisions, record.last_seq) == ((), (), 0)


def test_few_parts_hold_many_seals(store: Store):
    with RecordWriter(store) as writer:
        for number in range(64):
            writer.append({"event": "note", "text": str(number)})
            writer.seal()
    assert len([name for name in files(store) if name.endswith(".parquet")]) <= 7
    assert read_record(store).notes == tuple(map(str, range(64)))


def test_a_long_journal_is_sealed_by_itself(store: Store):
    with RecordWriter(store) as writer:
        for number in range(70):
            writer.append({"event": "note", "text": f"{number} {'x' * 70_000}"})
            writer.flush()
    assert any(name.endswith(".parquet") for name in files(store))
    assert seqs(store) == list(range(1, 71))


def test_a_kind_of_event_that_is_not_known_yet_is_kept_and_told_and_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as later:
        later.setitem(KEYS, "weather", ("sky",))  # type: ignore[arg-type]
        with RecordWriter(store) as writer:
            write_flushes(writer, [*small_search(), [{"event": "weather", "sky": "blue"}]])
    for _ in range(2):
        assert [event["sky"] for event in read_events(store) if event["event"] == "weather"] == ["blue"]
        assert len(read_record(store).trials) == len({e["trial"] for e in read_events(store) if e["event"] == "trial"})
        with RecordWriter(store) as writer:
            writer.seal()
