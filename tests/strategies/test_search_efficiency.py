import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.curve_tables import LCBENCH, read_table
from benchmarks.search_contenders import CONTENDERS
from benchmarks.search_efficiency import experience, main, race


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with one task: 400 configurations of LCBench, better the nearer their learning rate is to 0.01."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    units = rng.random((400, len(LCBENCH)))
    height = 90 - 60 * np.abs(units[:, 1] - 2 / 3)
    curves = height[:, None] * (1 - np.exp(-np.arange(1, 28) / 5))
    columns = {
        one.name: one.low * (one.high / one.low) ** at if one.is_log else one.low + at * (one.high - one.low)
        for one, at in zip(LCBENCH, units.T, strict=True)
    }
    seconds = np.cumsum(np.full(curves.shape, 2.0), axis=1)
    pq.write_table(pa.table(columns | {"val_accuracy": list(curves), "seconds": list(seconds)}), folder / "1.parquet")
    return folder


def test_a_table_is_read_into_the_unit_cube_and_its_regret_is_1_at_the_median(tables):
    table = read_table(tables / "1.parquet")
    assert table.units.shape == (400, 7)
    assert 0 <= table.units.min() < 0.01
    assert 0.99 < table.units.max() <= 1
    assert table.seconds[0] == pytest.approx([2.0] * 27)
    assert table.regret(float(table.scores.max())) == 0.0
    assert table.regret(table.median) == table.regret(0.0) == 1.0


def test_a_row_is_the_nearest_that_was_not_taken(tables):
    table = read_table(tables / "1.parquet")
    used: set[int] = set()
    order = [table.take(table.units[7], used) for _ in range(400)]
    distances = np.linalg.norm(table.units[order] - table.units[7], axis=1)
    assert sorted(order) == list(range(400))
    assert order[0] == 7
    assert (np.diff(distances) >= 0).all()


def test_the_space_of_a_table_is_the_unit_cube_itself_with_the_steps_of_whole_numbers(tables):
    table = read_table(tables / "1.parquet")
    space = table.space()
    assert table.unit(space.default()) == pytest.approx([0.5] * 7)
    rng = np.random.default_rng(0)
    drawn = np.array([table.unit(space.sample(rng)) for _ in range(500)])
    assert drawn.mean(axis=0) == pytest.approx([0.5] * 7, abs=0.05)
    assert [len(np.unique(column)) for column in drawn.T] == [500, 500, 500, 500, 5, 500, 500]


def test_regret_falls_with_the_budget_and_the_default_beats_random_draws(tables):
    table = read_table(tables / "1.parquet")
    ours = [race(table, CONTENDERS["autoft"](table, seed, None), (4, 10)).regrets for seed in range(2)]
    random = [race(table, CONTENDERS["random"](table, seed, None), (4, 10)).regrets for seed in range(2)]
    assert all(list(one) == sorted(one, reverse=True) for one in (*ours, *random))
    assert (np.mean(ours, axis=0) < np.mean(random, axis=0)).all()


def test_the_results_are_means_and_standard_errors_by_budget(tables, tmp_path, capsys):
    out = tmp_path / "results.json"
    main(["--tables", str(tables), "--strategies", "random", "--seeds", "2", "--out", str(out)])
    results = json.loads(out.read_text())
    assert list(results) == ["random"]
    for found in results.values():
        assert list(found) == ["regret", "stderr", "ms_per_decision"]
        assert list(found["regret"]) == list(found["stderr"]) == ["4", "10", "20", "40"]
        assert found["ms_per_decision"] > 0


def test_the_assignments_of_a_table_are_its_rows(tables):
    table = read_table(tables / "1.parquet")
    found = np.array([table.unit(one) for one in table.assignments(table.space())])
    whole = [number for number, one in enumerate(table.dimensions) if one.step is not None]
    others = [number for number in range(7) if number not in whole]
    assert found[:, others] == pytest.approx(table.units[:, others])


def test_what_was_learned_on_a_table_like_it_helps_and_of_itself_it_sees_nothing(tables, tmp_path):
    shutil.copy(tables / "1.parquet", tmp_path / "2.parquet")
    table, past = read_table(tables / "1.parquet"), experience([read_table(tmp_path / "2.parquet")])
    assert past.without("2").searches == ()
    alone, helped = (race(table, CONTENDERS["autoft"](table, 0, given), (4,)).regrets[0] for given in (None, past))
    assert helped < alone
