import re

import pytest

from autoft.core.configs import Budget
from autoft.core.errors import ConfigError
from autoft.jobs.submitting import _job_name, _totals, run_address


def test_a_run_lies_where_every_node_can_open_it() -> None:
    for run in ("s3://bucket/runs/a?region=eu-west-1", "gs://bucket/a", "abfs://box@account/a", "/shared/runs/a"):
        assert run_address(run) == run
    with pytest.raises(ConfigError, match=r"'runs/a' is a path of this machine alone; give storage"):
        run_address("runs/a")


@pytest.mark.parametrize("run", ["s3://AKIAXYZ:hunter2@bucket/runs/a", "s3://bucket/runs/AKIAXYZ?secret_key=hunter2"])
def test_a_key_in_the_run_is_refused_and_not_repeated(run: str) -> None:
    with pytest.raises(ConfigError, match="holds credentials") as refused:
        run_address(run)
    assert "hunter2" not in str(refused.value)
    assert "AKIAXYZ" not in str(refused.value)


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("s3://bucket/runs/Textile_2?region=x", "textile-2"),
        ("/shared/runs/a/", "a"),
        ("/shared/runs/***", "run"),
        (f"/shared/{'x' * 50}", "x" * 32),
    ],
)
def test_a_jobs_name_is_of_its_run_the_time_and_chance(run: str, name: str) -> None:
    assert re.fullmatch(rf"autoft-{name}-\d{{8}}-\d{{6}}-[0-9a-f]{{4}}", _job_name(run))
    assert _job_name(run) != _job_name(run)


def test_new_totals_become_the_options_of_the_resume() -> None:
    assert _totals(Budget(trials=40, seconds=1234567.5)) == ["--trials", "40", "--time", "1234567.5"]
    assert _totals(None) == []
