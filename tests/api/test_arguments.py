from pathlib import Path
from typing import Any

import pytest

import autoft
from autoft.api.arguments import check_arguments
from autoft.api.request import check_share, metrics_of, probes_sample, put_first
from autoft.core.configs import Budget
from autoft.core.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("target", 1, "target must be the name of a column, not 1."),
        ("group", 1, "group must be the name of a column, not 1."),
        ("task", 3, "task must be a name of `autoft list tasks`, not 3."),
        ("seed", "0", "seed must be a whole number, not '0'."),
        ("seed", True, "seed must be a whole number, not True."),
        ("keep", None, "keep must be a whole number, not None."),
        ("min_improvement", 0, "min_improvement must be a number above 0, not 0."),
        ("min_improvement", "little", "min_improvement must be a number, not 'little'."),
        ("confirm", 1.5, "confirm must be a whole number, not 1.5."),
        ("confirm", -1, "confirm must be at least 0, not -1."),
        ("budget", {"trials": 3}, "budget must be an autoft.Budget, not {'trials': 3}."),
        ("resources", 2, "resources must be an autoft.Resources, not 2."),
        ("space", {"task": "x"}, "an autoft.SearchSpace, not {'task': 'x'}."),
        ("overrides", ["a"], "overrides must be a dict such as {'optimizer.lr': 1e-3}, not ['a']."),
        ("overrides", {1: 2}, "overrides must be a dict such as {'optimizer.lr': 1e-3}, not {1: 2}."),
        ("limits", ["latency_ms"], "limits must be a dict such as {'parameters': 10e6}, not ['latency_ms']."),
        ("metric", 5, "metric must be a name of `autoft list metrics` or a list of them, not 5."),
        ("metric", [1], "metric must be a name of `autoft list metrics` or a list of them, not [1]."),
        ("searcher", 3, "searcher must be a name of `autoft list searchers` or an autoft.StrategyConfig, not 3."),
        ("address", 5, "address must be 'auto' or 'host:port', not 5."),
        ("out", None, "out must be a path or URI, not None."),
        ("learn_from", [3], "learn_from must be a run folder or experience file, or a list of them, not [3]."),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"out": "run", name: value}
    with pytest.raises(ConfigError) as error:
        autoft.search("pictures", **options)
    assert str(error.value).endswith(said)
    assert list(tmp_path.iterdir()) == []


def test_a_resume_takes_a_budget_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"budget must be an autoft.Budget, not 5."):
        autoft.resume(tmp_path, budget=5)  # type: ignore[arg-type]


def test_earlier_searches_may_be_given_as_a_list_of_paths() -> None:
    check_arguments(learn_from=[Path("runs/one"), "runs/two"])
    check_arguments(learn_from=Path("runs/one"))


def test_an_improvement_of_a_front_is_a_share(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"min_improvement must be below 1, not 1.5: of several metrics it is a share"
    ):
        autoft.search("pictures", metric=["accuracy", "-log_loss"], min_improvement=1.5, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "metrics", "said"),
    [
        ("-latency_ms", ("accuracy", "-latency_ms"), ["accuracy is put before -latency_ms: "]),
        (
            ["parameters", "latency_ms"],
            ("accuracy", "parameters", "latency_ms"),
            ["accuracy is put before parameters, "],
        ),
        (["accuracy", "-latency_ms"], ("accuracy", "-latency_ms"), []),
        ("-log_loss", ("-log_loss",), []),
        (None, ("accuracy",), []),
    ],
)
def test_before_costs_alone_the_tasks_own_metric_is_put_and_it_is_said(
    given: Any, metrics: tuple[str, ...], said: list[str]
) -> None:
    assert metrics_of(given) == metrics
    lines = put_first(given, metrics)
    assert [line[: len(begin)] for line, begin in zip(lines, said, strict=True)] == said


def test_that_probes_are_solved_on_a_sample_is_said() -> None:
    assert probes_sample(5000) == []
    assert probes_sample(80_000) == [
        "The frozen probes are solved on 5,000 of the 80,000 training rows, a stratified sample."
    ]


def test_an_epoch_without_a_row_is_refused() -> None:
    check_share(Budget(epochs_per_pass=36), 36)
    with pytest.raises(ConfigError, match="epochs_per_pass is 37, and there are 36 rows to train on"):
        check_share(Budget(epochs_per_pass=37), 36)
