import csv
import dataclasses
import io
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from autoft.core.errors import ConfigError
from autoft.core.storage import Store
from autoft.record import Record, RecordWriter, leading, read_record, winner
from autoft.record.leaderboard import column_names, format_rows, rows
from tests.record.making import ended, epoch, search_config, small_search, started, write_flushes

BY_ACCURACY = search_config("accuracy")
PARAMETERS = ["backbone.name", "batch_size"]


def record_of(*events: dict[str, Any]) -> Record:
    with RecordWriter(Store(fs._MockFileSystem(), "run", False)) as writer:
        for event in events:
            writer.append(event)
        return writer.record


def columns_of(assignment: dict[str, Any]) -> dict[str, Any]:
    return {"backbone.name": assignment.get("backbone"), "batch_size": assignment.get("batch_size")}


def board(record: Record, *metrics: str, **options: Any) -> list[dict[str, Any]]:
    search = options.pop("search", None) or search_config(*metrics)
    return rows(record, search, columns_of=columns_of, parameter_columns=PARAMETERS, **options)


@pytest.fixture(params=["journal", "sealed"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Record:
    store = Store.open(tmp_path / "run")
    with RecordWriter(store) as writer:
        write_flushes(writer, small_search())
        if request.param == "sealed":
            writer.seal()
    return read_record(store)


def test_the_columns_are_those_of_the_interface_in_its_order():
    assert column_names(search_config("accuracy", "f1_macro", "-latency_ms"), PARAMETERS) == [
        *("rank", "trial", "status", "front", "val_accuracy", "val_f1_macro", "test_accuracy", "test_f1_macro"),
        *("epochs", "seconds", "parameters", "latency_ms", "peak_memory_mb", "backbone.name", "batch_size"),
    ]
    assert column_names(search_config("accuracy"), PARAMETERS) == [
        *("rank", "trial", "status", "val_accuracy", "test_accuracy", "epochs", "seconds"),
        *("parameters", "latency_ms", "peak_memory_mb", "backbone.name", "batch_size"),
    ]


def test_a_small_search_as_a_leaderboard(small: Record):
    first, second, third = board(small)
    nothing = dict.fromkeys(column_names(search_config(), PARAMETERS))
    assert first == nothing | {
        "rank": 1,
        "trial": "t0001",
        "status": "completed",
        "front": 1,
        "val_accuracy": 0.75,
        "val_log_loss": 0.5,
        "test_accuracy": 0.625,
        "epochs": 3,
        "seconds": 4.5,
        "latency_ms": 2.5,
        "backbone.name": "timm:resnet18",
        "batch_size": 32,
    }
    assert second == nothing | {
        "rank": 2,
        "trial": "p01",
        "status": "probe",
        "front": 2,
        "val_accuracy": 0.5,
        "epochs": 1,
        "seconds": 1.5,
        "parameters": 1000,
        "backbone.name": "timm:resnet18",
    }
    assert third == nothing | {
        "trial": "t0002",
        "status": "diverged",
        "epochs": 1,
        "seconds": 1.5,
        "backbone.name": "timm:resnet18",
        "batch_size": 16,
    }
    assert list(first) == list(third) == column_names(search_config(), PARAMETERS)


def test_metrics_are_those_of_the_first_best_epoch_and_costs_those_of_the_last_that_has_them():
    record = record_of(
        started("t0001"),
        epoch("t0001", 1, 0.5, val_log_loss=3.0, latency_ms=1.0, parameters=10),
        epoch("t0001", 2, 0.9, val_log_loss=2.0, latency_ms=2.0),
        epoch("t0001", 3, 0.9, val_log_loss=1.0),
        epoch("t0001", 4, 0.8, val_log_loss=0.5, peak_memory_mb=5.5),
    )
    (row,) = board(record)
    assert (row["val_accuracy"], row["val_log_loss"]) == (0.9, 2.0)
    assert (row["latency_ms"], row["parameters"], row["peak_memory_mb"], row["epochs"]) == (2.0, 10, 5.5, 4)
    assert board(record, "log_loss")[0]["val_log_loss"] == 0.5


def test_diverged_then_failed_then_trials_without_a_value_come_last_and_have_no_rank():
    record = record_of(
        *(started(f"t000{number}") for number in range(1, 7)),
        epoch("t0002", 1, 0.99),
        ended("t0002", "failed", "out of memory"),
        epoch("t0003", 1, 0.98),
        epoch("t0003", 2, None, "diverged"),
        epoch("t0004", 1, 0.1),
        epoch("t0005", 1, 0.2),
        ended("t0005", "pruned"),
        epoch("t0006", 1, None),
    )
    found = [(row["rank"], row["trial"], row["status"]) for row in board(record)]
    assert found == [
        *((1, "t0005", "pruned"), (2, "t0004", "running"), (None, "t0003", "diverged"), (None, "t0002", "failed")),
        *((None, "t0001", "running"), (None, "t0006", "running")),
    ]
    assert winner(record, BY_ACCURACY) == "t0005"


def test_of_equals_the_trial_that_started_earlier_leads():
    record = record_of(*(started(name) for name in ("p01", "t0001", "t0002")))
    assert winner(record, BY_ACCURACY) is None
    record = record_of(
        *(started(name) for name in ("p01", "t0001", "t0002")),
        *(epoch(name, 1, value) for name, value in (("t0002", 0.5), ("t0001", 0.5), ("p01", 0.25))),
    )
    assert leading(record, BY_ACCURACY, 2) == ["t0001", "t0002"]
    assert leading(record, BY_ACCURACY, 9) == ["t0001", "t0002", "p01"]
    assert winner(record, BY_ACCURACY) == "t0001"


def test_of_several_metrics_what_no_other_trial_dominates_comes_first_and_within_a_front_the_first_metric_ranks():
    figures = {
        "t0001": (0.9, 5.0),
        "t0002": (0.8, 6.0),
        "t0003": (0.7, 1.0),
        "t0004": (0.95, 9.0),
        "t0005": (0.6, None),
    }
    record = record_of(
        *(started(name) for name in figures),
        *(epoch(name, 1, value, latency_ms=latency) for name, (value, latency) in figures.items()),
    )
    found = [(row["rank"], row["trial"], row["front"]) for row in board(record, "accuracy", "-latency_ms")]
    assert found == [(1, "t0004", 1), (2, "t0001", 1), (3, "t0003", 1), (4, "t0002", 2), (5, "t0005", 3)]
    assert winner(record, search_config("accuracy", "-latency_ms")) == "t0004"


def test_a_trial_that_breaks_a_limit_has_no_rank():
    record = record_of(
        *(started(name) for name in ("t0001", "t0002")),
        epoch("t0001", 1, 0.9, parameters=11_000_000),
        epoch("t0002", 1, 0.5, parameters=10_000_000),
    )
    search = dataclasses.replace(search_config("accuracy"), limits={"parameters": 10e6})
    found = rows(record, search, columns_of=columns_of, parameter_columns=PARAMETERS)
    assert [(row["rank"], row["trial"]) for row in found] == [(1, "t0002"), (None, "t0001")]
    assert winner(record, search) == "t0002"


def test_a_cost_as_the_first_objective_ranks_the_cheapest_first():
    record = record_of(
        *(started(name) for name in ("t0001", "t0002")),
        *(epoch("t0001", number, 0.9, latency_ms=latency) for number, latency in ((1, 1.0), (2, 5.0))),
        epoch("t0002", 1, 0.1, latency_ms=4.0),
    )
    assert [row["trial"] for row in board(record, "-latency_ms", "accuracy")] == ["t0002", "t0001"]
    assert winner(record, search_config("-latency_ms")) == "t0002"


def test_a_failed_probe_says_so_and_a_running_one_is_a_probe():
    record = record_of(started("p01", "probe"), started("p02", "probe"), ended("p02", "failed", "no weights"))
    assert {row["trial"]: row["status"] for row in board(record)} == {"p01": "probe", "p02": "failed"}


def test_rows_are_sorted_by_a_column_the_better_end_of_a_metric_first(small: Record):
    def order(column: str) -> list[str]:
        return [row["trial"] for row in board(small, sort=column)]

    assert order("val_accuracy") == ["t0001", "p01", "t0002"]
    assert order("batch_size") == ["t0002", "t0001", "p01"]
    assert order("parameters") == ["p01", "t0001", "t0002"]
    assert order("status") == ["t0001", "t0002", "p01"]
    assert order("trial") == ["p01", "t0001", "t0002"]
    assert [row["rank"] for row in board(small, sort="batch_size")] == [None, 1, 2]


def test_the_transferability_of_probes_is_a_last_column_where_they_have_one():
    probes = [started(f"p0{number}", "probe", backbone="net") for number in (1, 2)]
    scores = [epoch("p01", 1, 0.5, logme=-0.25), epoch("p02", 1, 0.4, logme=0.5)]
    record = record_of(*probes, *scores, started("t0001"), epoch("t0001", 1, 0.75))
    table = board(record, "accuracy")
    assert list(table[0]) == [*column_names(search_config("accuracy"), PARAMETERS), "logme"]
    assert {row["trial"]: row["logme"] for row in table} == {"t0001": None, "p01": -0.25, "p02": 0.5}
    assert [row["trial"] for row in board(record, "accuracy", sort="logme")] == ["p02", "p01", "t0001"]
    assert '"logme": -0.25' in format_rows(table, "json")
    without = board(record_of(probes[0], epoch("p01", 1, 0.5)), "accuracy")
    assert "logme" not in without[0]


def test_top_keeps_the_first_rows(small: Record):
    assert [row["trial"] for row in board(small, top=2)] == ["t0001", "p01"]
    assert len(board(small, top=99)) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sort": "val_acuracy"}, r"Unknown column 'val_acuracy' to sort by. Did you mean 'val_accuracy'\?"),
        ({"top": 0}, "must be above 0, not 0"),
    ],
)
def test_a_column_or_number_that_is_none_is_refused(small: Record, options: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        board(small, **options)


def test_json_and_csv_hold_the_rows_exactly(small: Record):
    table = board(small)
    assert json.loads(format_rows(table, "json")) == table
    read = list(csv.DictReader(io.StringIO(format_rows(table, "csv"))))
    assert list(read[0]) == list(table[0])
    assert [row["val_accuracy"] for row in read] == ["0.75", "0.5", ""]
    assert float(format_rows([{"lr": 0.1 + 0.2}], "csv").split()[1]) == 0.1 + 0.2


def test_markdown_is_a_table_with_rounded_numbers():
    table = [{"rank": 1, "val_accuracy": 2 / 3, "parameters": 11_689_512, "name": "x|y", "lr": 1e-05 / 3, "none": None}]
    assert format_rows(table, "md").splitlines() == [
        "| rank | val_accuracy | parameters | name | lr | none |",
        "| --- | --- | --- | --- | --- | --- |",
        r"| 1 | 0.6667 | 11,689,512 | x\|y | 3.333e-06 |  |",
    ]


def test_the_mean_of_a_cost_is_shown_as_the_cost_is():
    table = [{"mean_accuracy": 0.5, "mean_parameters": 11_689_512.0, "mean_latency_ms": 12.34567}]
    assert format_rows(table, "md").splitlines()[-1] == "| 0.5000 | 11,689,512 | 12.35 |"


def test_no_rows_are_text_too():
    names = column_names(search_config("accuracy"), [])
    assert format_rows([], "json") == "[]\n"
    assert format_rows([], "csv", names).startswith("rank,trial,status,val_accuracy,test_accuracy,epochs,")
    assert format_rows([], "md", ["rank", "trial"]) == "| rank | trial |\n| --- | --- |\n"


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 5), st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_columns_rank_as_objects_do_whatever_was_trained_again_and_sealed(
    results: list[tuple[int, int, float | None]], sealed: int
):
    store = Store(fs._MockFileSystem(), "run", False)
    with RecordWriter(store) as writer:
        for number in range(4):
            writer.append(started(f"t{number}"))
        for index, (trial, number, accuracy) in enumerate(results):
            writer.append(epoch(f"t{trial}", number, accuracy))
            if index == sealed:
                writer.seal()
        writer.flush()
    record = read_record(store)
    best = {
        row.trial: max(values)
        for row in record.trials
        if (values := [v for result in row.epochs if (v := result.metrics["val_accuracy"]) is not None])
    }
    found = {row["trial"]: row for row in board(record)}
    assert {trial: row["val_accuracy"] for trial, row in found.items() if row["rank"]} == best
    assert leading(record, BY_ACCURACY, 4) == sorted(best, key=lambda trial: -best[trial])
    for row in record.trials:
        assert found[row.trial]["epochs"] == (row.epochs[-1].epoch if row.epochs else 0)
        assert found[row.trial]["seconds"] == 1.5 * len(row.epochs)


READ = """
    import sys
    from autoft.core.storage import Store
    from autoft.record import leaderboard, read_record
    from tests.record.making import search_config

    record = read_record(Store.open(sys.argv[1]))
    table = leaderboard.rows(record, search_config(), columns_of=dict, parameter_columns=["batch_size"])
    print(leaderboard.format_rows(table, "csv"))
    print(sorted({"torch", "ray", "pandas", "timm", "transformers", "sklearn", "hyperopt"} & set(sys.modules)))
"""


def test_reading_a_sealed_run_imports_neither_torch_nor_pandas(tmp_path: Path):
    with RecordWriter(Store.open(tmp_path)) as writer:
        write_flushes(writer, small_search())
        writer.seal()
    code = "\n".join(line.strip() for line in READ.splitlines())
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.splitlines()[1].startswith("1,t0001,completed,1,0.75,0.5,")


def test_twice_as_many_trials_are_ranked_with_little_more_than_twice_the_work(tmp_path: Path):
    work = {}
    for count in (300, 600):
        store = Store.open(tmp_path / str(count))
        with RecordWriter(store) as writer:
            for number in range(count):
                writer.append(started(f"t{number:04d}", batch_size=number))
                for index in range(1, 6):
                    writer.append(epoch(f"t{number:04d}", index, number / count))
            writer.seal()
        calls = itertools.count()
        sys.setprofile(lambda _frame, event, _argument, calls=calls: next(calls) if event == "call" else None)
        try:
            table = board(read_record(store))
        finally:
            sys.setprofile(None)
        work[count] = next(calls)
        assert [row["trial"] for row in table[:2]] == [f"t{count - 1:04d}", f"t{count - 2:04d}"]
    # To sort them takes n log n; what compared each with each would take four times as much.
    assert 300 < work[300] < work[600] < 2.4 * work[300]
