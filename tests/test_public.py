"""What a person may rely on, pinned: a change here is a change of the interface and belongs in the CHANGELOG."""

import inspect
import subprocess
import sys

import autoft

NAMES = [
    "AutoftError",
    "Budget",
    "Model",
    "Resources",
    "SearchResult",
    "SearchSpace",
    "StrategyConfig",
    "UserError",
    "__version__",
    "load",
    "open_run",
    "reproduce",
    "resume",
    "search",
]
HEAVY = {"torch", "ray", "timm", "transformers", "pandas", "pyarrow", "numpy", "hyperopt", "sklearn"}


def test_the_public_names() -> None:
    assert sorted(autoft.__all__) == NAMES
    assert dir(autoft) == NAMES
    assert all(getattr(autoft, name) is not None for name in NAMES)


def test_the_arguments_of_search() -> None:
    assert list(inspect.signature(autoft.search).parameters) == [
        *("data", "task", "target", "val", "test", "group", "space", "overrides", "metric", "budget"),
        *(
            "searcher",
            "scheduler",
            "resources",
            "address",
            "out",
            "seed",
            "deterministic",
            "learn_from",
            "limits",
            "min_improvement",
            "confirm",
            "keep",
            "profile",
            "listener",
        ),
    ]


def test_the_arguments_of_the_other_functions() -> None:
    assert list(inspect.signature(autoft.resume).parameters) == [
        *("run", "budget", "address", "searcher", "scheduler", "listener")
    ]
    assert list(inspect.signature(autoft.open_run).parameters) == ["run"]
    assert list(inspect.signature(autoft.load).parameters) == ["bundle", "device"]
    assert list(inspect.signature(autoft.reproduce).parameters) == [
        *("config", "data", "val", "test", "trial", "out", "listener"),
    ]


def test_importing_autoft_loads_no_library() -> None:
    program = "import sys, autoft; print(' '.join(sorted(name.partition('.')[0] for name in sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert HEAVY.isdisjoint(loaded.split())
