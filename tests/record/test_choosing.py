"""Who wins: the smallest within noise of the best, or the best mean over seeds."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from autoft.core.storage import Store
from autoft.record import RecordWriter, leading, read_record
from autoft.record.choosing import Choice, Contestant, choose
from autoft.record.leaderboard import column_names, footnotes, marked, within_noise
from tests.record.making import ended, epoch, search_config, started
from tests.record.test_leaderboard import PARAMETERS, board, record_of

BY_ACCURACY = search_config("accuracy")


def chosen(*losses: float, num_finalists: int = 3, error: float | None = 0.05, **more: dict[int, Any]) -> Choice:
    """Choose among trials of these losses; `sizes`, `kinds`, `confirms` and `statuses` by position."""
    contestants = [
        Contestant(
            trial=f"t{place}",
            kind=more.get("kinds", {}).get(place, "trial"),
            status=more.get("statuses", {}).get(place, "completed"),
            confirms=more.get("confirms", {}).get(place),
            size=more.get("sizes", {}).get(place, 10e6),
        )
        for place in range(len(losses))
    ]
    order = [place for place in range(len(losses)) if contestants[place].confirms is None]
    return choose(
        sorted(order, key=losses.__getitem__),
        losses,
        contestants,
        num_finalists=num_finalists,
        error_of=lambda _: error,
    )


def test_of_the_leading_trials_within_noise_the_smallest_wins_and_the_others_keep_their_order():
    choice = chosen(0.10, 0.12, 0.14, 0.2, sizes={2: 5e6, 3: 1e6})
    assert choice.order == [2, 0, 1, 3]
    assert choice.near == {0, 1, 2}
    assert choice.noise == 0.05


def test_beyond_noise_and_beyond_the_trials_that_are_kept_a_smaller_one_does_not_win():
    assert chosen(0.10, 0.16, sizes={1: 1e6}).order == [0, 1]
    assert chosen(0.10, 0.11, 0.12, num_finalists=2, sizes={2: 1e6}).order == [0, 1, 2]
    assert chosen(0.10, 0.11, 0.12, num_finalists=2, sizes={2: 1e6}).near == {0, 1, 2}


def test_heads_and_adapters_make_no_model_smaller():
    assert chosen(0.10, 0.11, sizes={0: 22.72e6, 1: 22.68e6}).order == [0, 1]
    assert chosen(0.10, 0.11, sizes={0: 22.72e6, 1: 21.4e6}).order == [1, 0]


def test_a_model_of_unknown_size_is_the_largest():
    assert chosen(0.10, 0.11, sizes={0: None}).order == [1, 0]


def test_without_a_standard_error_the_best_wins_and_nothing_is_marked():
    choice = chosen(0.10, 0.11, error=None, sizes={1: 1.0})
    assert choice.order == [0, 1]
    assert choice.near == frozenset()
    assert choice.noise is None


def test_who_is_alone_within_noise_is_not_marked():
    assert chosen(0.10, 0.2).near == frozenset()
    assert chosen().order == []


def test_finalists_with_several_seeds_lead_by_the_mean_whatever_their_size():
    again = {3: "t0", 4: "t1", 5: "t1"}
    choice = chosen(0.10, 0.12, 0.13, 0.20, 0.10, 0.11, confirms=again, sizes={0: 1e6}, error=0.0)
    assert choice.order == [1, 0, 2]
    assert choice.means == {0: pytest.approx(0.15), 1: pytest.approx(0.11)}
    assert choice.seeds == {0: 2, 1: 3}


def test_noise_over_seeds_is_pooled_over_the_finalists_and_added_to_that_over_rows():
    again = {2: "t0", 3: "t1"}
    choice = chosen(0.10, 0.12, 0.14, 0.18, confirms=again, error=0.03)
    spread = math.sqrt((2 * 0.02**2 + 2 * 0.03**2) / 2)
    assert choice.noise == pytest.approx(math.hypot(0.03, spread / math.sqrt(2)))
    assert choice.near == {0, 1}


def test_of_equal_means_the_smaller_model_wins():
    again = {2: "t0", 3: "t1"}
    assert chosen(0.25, 0.5, 0.5, 0.25, confirms=again, sizes={1: 1e6}).order == [1, 0]


def test_a_seed_that_diverged_puts_its_finalist_behind_the_others():
    again = {2: "t0", 3: "t1"}
    choice = chosen(0.10, 0.12, math.nan, 0.5, confirms=again, statuses={2: "diverged"}, error=0.01)
    assert choice.order == [1, 0]
    assert choice.means[0] == math.inf


def test_a_training_that_has_not_ended_or_failed_counts_for_nothing():
    for status in ("running", "paused", "failed"):
        assert chosen(0.10, 0.12, 0.9, confirms={2: "t0"}, statuses={2: status}).means == {}


def test_a_probe_counts_beside_the_confirmed_since_it_has_no_seed():
    choice = chosen(0.10, 0.12, 0.30, kinds={1: "probe"}, confirms={2: "t0"})
    assert choice.order == [1, 0]
    assert choice.means == {0: pytest.approx(0.2), 1: 0.12}


BY_TWO = search_config("accuracy", "-latency_ms", confirm=1)


def seeds(trial: str, *pairs: tuple[float | None, float]) -> list[dict[str, Any]]:
    """Return a trial with its accuracy and latency, and its trainings with other seeds; None: it diverged."""
    found = []
    for number, (accuracy, latency) in enumerate(pairs, 1):
        name, kind = (trial, {}) if number == 1 else (f"{trial}-s{number}", {"kind": "confirm", "confirms": trial})
        status = "completed" if accuracy is not None else "diverged"
        told = epoch(name, 1, accuracy, status, latency_ms=latency, parameters=10)
        found += [{**started(name), **kind}, told, ended(name, status)]
    return found


def ranks(*events: dict[str, Any], keep: int = 3) -> list[tuple[int, str, int]]:
    record = record_of(*events)
    table = board(record, search=dataclasses.replace(BY_TWO, keep=keep))
    return [(row["rank"], row["trial"], row["front"]) for row in table if row["rank"] is not None]


def test_of_several_metrics_the_front_of_the_means_leads_and_its_best_by_the_first_wins():
    events = [
        *seeds("t0001", (0.9, 5.0), (0.5, 5.0)),
        *seeds("t0002", (0.8, 5.5), (0.8, 4.5)),
        *seeds("t0003", (0.7, 2.0), (0.6, 3.0)),
    ]
    assert ranks(*events) == [(1, "t0002", 1), (2, "t0003", 1), (3, "t0001", 2)]
    record = record_of(*events)
    assert leading(record, BY_TWO, 1) == ["t0002"]
    columns = column_names(BY_TWO, PARAMETERS)
    assert columns[3:9] == ["front", "val_accuracy", "test_accuracy", "mean_accuracy", "mean_latency_ms", "seeds"]
    assert "within_noise" not in columns
    shown = [tuple(row[name] for name in ("trial", *columns[6:9])) for row in board(record, search=BY_TWO)]
    assert shown[:3] == [("t0002", 0.8, 5.0, 2), ("t0003", pytest.approx(0.65), 2.5, 2), ("t0001", 0.7, 5.0, 2)]
    assert shown[3:] == [("t0001-s2", None, None, None), ("t0002-s2", None, None, None), ("t0003-s2", None, None, None)]
    assert footnotes(record, BY_TWO) == ["The winner is the finalist with the best mean over its seeds, mean_accuracy."]


def test_a_trial_that_was_not_confirmed_comes_after_the_finalists_and_puts_none_of_them_off_the_front():
    events = [
        *seeds("t0001", (0.9, 5.0), (0.3, 5.0)),
        *seeds("t0002", (0.8, 4.0), (0.8, 4.0)),
        *seeds("t0003", (0.7, 3.0)),
        *seeds("t0004", (0.65, 2.0)),
        *seeds("t0005", (0.1, 6.0)),
    ]
    assert ranks(*events, keep=2) == [
        (1, "t0002", 1),
        (2, "t0001", 2),
        (3, "t0003", 1),
        (4, "t0004", 1),
        (5, "t0005", 3),
    ]


def test_a_finalist_that_waits_for_its_seeds_leads_what_has_risen_since():
    events = [
        *seeds("t0001", (0.9, 5.0), (0.1, 5.0)),
        *seeds("t0002", (0.85, 6.0)),
        *seeds("t0003", (0.7, 4.0)),
        *seeds("t0004", (0.6, 3.0)),
    ]
    assert [name for _, name, _ in ranks(*events)] == ["t0001", "t0003", "t0004", "t0002"]


def test_a_seed_that_diverged_puts_its_finalist_off_the_front_and_a_probe_counts_as_it_is():
    probe = [started("p01", "probe"), epoch("p01", 1, 0.5, "completed", latency_ms=1.0), ended("p01", "probe")]
    events = [*probe, *seeds("t0001", (0.9, 5.0), (None, 5.0)), *seeds("t0002", (0.8, 4.0), (0.7, 4.0))]
    assert ranks(*events) == [(1, "t0002", 1), (2, "p01", 1), (3, "t0001", 2)]


ENDS = {"test_accuracy_low": 0.6, "test_accuracy_high": 0.8}


def with_error(trial: str, accuracy: float, size: int, error: float = 0.04) -> list[dict[str, Any]]:
    told = epoch(trial, 1, accuracy, "completed", parameters=size, val_accuracy_stderr=error)
    return [started(trial), told, ended(trial, "completed")]


def again(trial: str, of: str, accuracy: float) -> list[dict[str, Any]]:
    return [{**started(trial, "confirm"), "confirms": of}, *with_error(trial, accuracy, 100)[1:]]


def test_the_leaderboard_marks_ranks_within_noise_and_says_what_the_mark_means():
    record = record_of(
        *with_error("t0001", 0.75, 2000), *with_error("t0002", 0.72, 1000), *with_error("t0003", 0.5, 10)
    )
    assert leading(record, BY_ACCURACY, 3) == ["t0002", "t0001", "t0003"]
    table = board(record, "accuracy")
    near = within_noise(record, BY_ACCURACY)
    assert near == ("t0002", "t0001")
    assert [row["rank"] for row in table] == [1, 2, 3]
    assert [row["rank"] for row in marked(table, near)] == ["≈1", "≈2", 3]
    assert footnotes(record, BY_ACCURACY) == [
        "≈ is within noise of the best val_accuracy: within its standard error, 0.0400.",
        "The winner is, of the 3 leading trials within noise of the best, the smallest model, or of equals the better.",
    ]


def test_the_leaderboard_shows_the_mean_and_the_seeds_and_gives_those_that_confirm_no_rank():
    search = search_config("accuracy", confirm=1)
    record = record_of(
        *with_error("t0001", 0.75, 1000),
        *with_error("t0002", 0.72, 1000),
        *again("t0001-s2", "t0001", 0.5),
        *again("t0002-s2", "t0002", 0.70),
        {"event": "test", "trial": "t0002", "metrics": {"test_accuracy": 0.7, **ENDS}},
    )
    columns = column_names(search, PARAMETERS)
    assert columns[3:8] == ["val_accuracy", "test_accuracy", "mean_accuracy", "seeds", "within_noise"]
    table = board(record, search=search)
    shown = [tuple(row[name] for name in ("rank", "trial", *columns[5:8])) for row in table]
    assert shown == [
        (1, "t0002", 0.71, 2, True),
        (2, "t0001", 0.625, 2, True),
        (None, "t0001-s2", None, None, None),
        (None, "t0002-s2", None, None, None),
    ]
    assert "within_noise" not in marked(table, ())[0]
    assert footnotes(record, search) == [
        "≈ is within noise of the best mean_accuracy: within its standard error, 0.0973.",
        "The winner is the finalist with the best mean over its seeds, mean_accuracy.",
        "test_accuracy of t0002 is, with 95 % confidence, from 0.6000 to 0.8000.",
    ]


def test_a_sealed_record_knows_whom_a_trial_confirms_and_the_standard_errors(tmp_path: Path):
    store = Store.open(tmp_path)
    with RecordWriter(store) as writer:
        for event in (*with_error("t0001", 0.75, 10, error=0.25), *again("t0001-s2", "t0001", 0.5)):
            writer.append(event)
        writer.seal()
    record = read_record(store)
    assert [row.confirms for row in record.trials] == [None, "t0001"]
    assert record.trials[0].metric(1, "val_accuracy_stderr") == 0.25
    assert record.trials[0].metric(2, "val_accuracy_stderr") is None
