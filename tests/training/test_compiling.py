"""Passes are compiled where a search wins the time back; the configuration says so, and is obeyed."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest
import torch
from torch import nn

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.jsonable import Json, canonical_json
from autoft.core.notebook import write_note
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.compiling import (
    Forward,
    can_compile,
    compile_key,
    compile_note,
    compile_training,
    has_compiler,
    is_own,
    pays,
)
from autoft.training.loop import Trial
from autoft.training.measuring import dtype_key
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench
from autoft.training.worker import open_trial

Make = Callable[..., TrialConfig]
ENDLESS = ExecutionPolicy(measures=True, trainings=math.inf)
KNOWN: Json = {"cold_seconds": 90.0, "speedup": 2.0, "warm_seconds": 5.0}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache" / "inductor"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("seconds", "policy", "note", "expected"),
    [
        (100.0, ExecutionPolicy(trainings=8), {}, False),  # 8 x (28.6 - 6.5) = 177 s won, 200 s needed
        (100.0, ExecutionPolicy(trainings=10), {}, True),
        (100.0, ExecutionPolicy(trainings=10, seconds=500.0), {}, False),
        (20.0, ENDLESS, {}, False),
        (25.0, ENDLESS, {}, True),
        (21.0, ExecutionPolicy(), KNOWN, True),
        (19.0, ExecutionPolicy(trainings=100), KNOWN, False),
        (1000.0, ENDLESS, {"failed": "no"}, False),
        (1000.0, ENDLESS, {**KNOWN, "speedup": 0.9}, False),
    ],
)
def test_compiling_pays_when_twice_its_seconds_are_won(
    seconds: float, policy: ExecutionPolicy, note: Json, expected: bool
) -> None:
    assert pays(seconds, policy, note) is expected


@pytest.mark.parametrize(
    ("sections", "input_kind", "expected"),
    [
        ({}, "image", True),
        ({}, "text", False),
        ({"finetune": {"mode": "head"}}, "image", False),
        ({"finetune": {"mode": "gradual"}}, "image", False),
        ({"resizing": {"name": "progressive"}}, "image", False),
        ({"optimizer": {"name": "sam", "base": {"name": "sgd", "lr": 0.1}}}, "image", False),
    ],
)
def test_what_has_one_shape_and_one_graph_can_be_compiled(
    make_config: Make, colours: Dataset, sections: Json, input_kind: str, expected: bool
) -> None:
    execution = Workbench.set_up(make_config(), colours, warm=WarmCache()).execution
    assert can_compile(make_config(**sections), execution, input_kind=input_kind) is expected


def test_without_a_compiler_nothing_is_compiled_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    has_compiler.cache_clear()
    assert [has_compiler("cpu"), has_compiler("cpu")] == [False, False]
    has_compiler.cache_clear()
    assert caplog.messages == ["Nothing is compiled here: there is no no-such-compiler."]


@pytest.fixture
def tiny() -> tuple[nn.Module, Callable[[Forward], None]]:
    """Return a network of two layers, and what runs it on five rows."""
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    def rehearse(forward: Forward) -> None:
        forward(torch.ones(5, 4)).sum().backward()
        network.zero_grad()

    return network, rehearse


def test_compiled_code_is_kept_only_where_nobody_else_may_write(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "inductor"
    assert is_own(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    assert not is_own(folder)
    (tmp_path / "file").touch()
    assert not is_own(tmp_path / "file" / "inductor")


@pytest.mark.slow
def test_a_compilation_that_fails_is_said_and_remembered(
    make_config: Make,
    colours: Dataset,
    tiny: tuple[nn.Module, Callable[[Forward], None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config()
    execution = Workbench.set_up(config, colours, warm=WarmCache()).execution
    with torch._inductor.config.patch({"cpp.cxx": (None, "false")}):
        assert compile_training(*tiny, config, execution, measures=True) is None
    assert "The network cannot be compiled, and trains as it is: " in caplog.text
    assert set(compile_note(config, execution)) == {"failed"}


@pytest.mark.parametrize("found", [{"speedup": "fast"}, {"speedup": None}, {"cold_seconds": -1.0}])
def test_a_foreign_note_says_nothing(make_config: Make, colours: Dataset, found: Json) -> None:
    config = make_config()
    execution = Workbench.set_up(config, colours, warm=WarmCache()).execution
    write_note("compile", compile_key(config, execution), found)
    assert compile_note(config, execution) == {}


HOLDING = """
import json, sys
from autoft.core.notebook import alone
with alone("compile", json.loads(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_worker_trains_on_while_another_compiles_the_same(
    make_config: Make, colours: Dataset, tiny: tuple[nn.Module, Callable[[Forward], None]]
) -> None:
    config = make_config()
    execution = Workbench.set_up(config, colours, warm=WarmCache()).execution
    key = canonical_json(compile_key(config, execution))
    with subprocess.Popen([sys.executable, "-c", HOLDING, key], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert compile_training(*tiny, config, execution, measures=True) is None
        other.communicate()
    assert compile_note(config, execution) == {}


@pytest.mark.slow
def test_a_compiled_trial_says_so_learns_the_same_and_is_reproduced_to_the_digit(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    def opened(config: TrialConfig, name: str, policy: ExecutionPolicy | None = None) -> Trial:
        trial = open_trial(config, colours, store=Store.open(tmp_path / name), policy=policy)
        assert isinstance(trial, Trial)
        return trial

    config = make_config(epochs=1, batch_size=7, augmentation={"name": "flip"}, optimizer={"name": "sgd", "lr": 0.01})
    eager = opened(config, "eager")
    assert eager.config.execution["compile"] is False
    key = compile_key(config, eager.bench.execution)
    write_note(
        "dtype", dtype_key(config, eager.bench.execution), {"seconds_per_row": {"float32": 10.0, "bfloat16": 20.0}}
    )
    write_note("compile", key, {**KNOWN, "warm_seconds": 1e-9})
    compiled = opened(config, "compiled", ExecutionPolicy(measures=True, trainings=math.inf))
    assert compiled.config.execution["compile"] is True
    before = [trial.bench.network.state_dict() for trial in (eager, compiled)]
    assert all(torch.equal(tensor, before[1][name]) for name, tensor in before[0].items())
    results = [trial.run_epoch() for trial in (eager, compiled)]
    assert results[0].metrics["train_loss"] == pytest.approx(results[1].metrics["train_loss"], rel=1e-4)
    assert results[0].weights_sha256 != results[1].weights_sha256
    again = opened(compiled.config, "again")
    assert again.run_epoch().weights_sha256 == results[1].weights_sha256
    assert again.config == compiled.config
