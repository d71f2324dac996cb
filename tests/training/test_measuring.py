"""How a network computes is measured once a machine, without a trace in the network, and obeyed from then on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.notebook import write_note
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.tasks import state_hash
from autoft.training.execution import choose_execution, computes_in_bfloat16
from autoft.training.measuring import DTYPES, dtype_key, example, fastest, measured, noted_seconds, seconds_per_row
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench
from autoft.training.worker import open_trial

Make = Callable[..., TrialConfig]
MEASURES = ExecutionPolicy(measures=True)
needs_bfloat16 = pytest.mark.skipif(
    not computes_in_bfloat16(on_gpu=torch.cuda.is_available()), reason="this processor has no bfloat16"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def silent() -> None:
    """Do nothing."""


def test_bfloat16_must_be_faster_by_the_margin() -> None:
    assert fastest({"float32": 1.0, "bfloat16": 0.83}) == "bfloat16"
    assert fastest({"float32": 1.0, "bfloat16": 0.84}) == "float32"


@pytest.mark.parametrize("trains", [True, False])
def test_measuring_leaves_no_trace(make_config: Make, colours: Dataset, trains: bool) -> None:
    bench = Workbench.set_up(make_config(), colours, warm=WarmCache())
    network, execution = bench.network, bench.execution
    before = state_hash(network.state_dict()), torch.get_rng_state().tolist(), network.training
    found = seconds_per_row(
        network, execution, bench.backbone.preprocessing, trains=trains, most_rows=8, heartbeat=silent
    )
    assert set(found) == set(DTYPES)
    assert min(found.values()) > 0
    assert (state_hash(network.state_dict()), torch.get_rng_state().tolist(), network.training) == before
    assert all(parameter.grad is None for parameter in network.parameters())


def test_examples_have_the_size_that_is_trained_on(make_config: Make, colours: Dataset) -> None:
    execution = Workbench.set_up(make_config(), colours, warm=WarmCache()).execution
    (pictures,) = example({"kind": "image", "size": 48}, 5, execution)
    assert pictures.shape == (5, 3, 48, 48)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert [part.shape for part in example({"kind": "text", "max_length": 64}, 5, execution)] == [(5, 32)] * 2


@needs_bfloat16
def test_what_one_worker_measured_all_obey(make_config: Make, colours: Dataset, tmp_path: Path, cache: Path) -> None:
    config = make_config()
    bench = Workbench.set_up(config, colours, warm=WarmCache())
    passes: list[int] = []

    def dtype() -> str:
        return measured(
            bench.execution, bench.network, config, bench.backbone.preprocessing, heartbeat=lambda: passes.append(1)
        ).dtype

    key = dtype_key(config, bench.execution)
    write_note("dtype", key, {"seconds_per_row": {"float32": 2.0, "bfloat16": 1.0}})
    assert (dtype(), passes) == ("bfloat16", [])
    assert noted_seconds(config, bench.execution) == 2.0
    (path,) = (cache / "machine").glob("dtype-*.json")
    for torn in ("", '{"format": 1', path.read_text().replace("2.0", '"2"'), path.read_text().replace("2.0", "-2.0")):
        passes.clear()
        path.write_text(torn)
        dtype()
        assert passes
        passes.clear()
        dtype()
        assert not passes


@needs_bfloat16
def test_a_trial_takes_what_is_noted_where_it_may_and_a_recorded_execution_does_not(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    def opened(config: TrialConfig, policy: ExecutionPolicy | None) -> str:
        trial = open_trial(config, colours, store=Store.open(tmp_path / "trial"), policy=policy)
        return str(trial.config.execution["dtype"])

    config = make_config()
    ruled = open_trial(config, colours, store=Store.open(tmp_path / "ruled")).config
    assert not (tmp_path / "cache").exists()
    bench = Workbench.set_up(config, colours, warm=WarmCache())
    write_note("dtype", dtype_key(config, bench.execution), {"seconds_per_row": {"float32": 2.0, "bfloat16": 1.0}})
    assert opened(config, None) == "float32"
    assert opened(config, MEASURES) == "bfloat16"
    assert opened(ruled, MEASURES) == "float32"


@needs_bfloat16
def test_a_probe_and_heads_of_any_batch_size_agree(make_config: Make, colours: Dataset) -> None:
    keys = []
    for sections in ({"finetune": {"mode": "head"}, "batch_size": 8}, {"finetune": {"mode": "head"}, "batch_size": 16}):
        config = make_config(**sections)
        keys.append(dtype_key(config, Workbench.set_up(config, colours, warm=WarmCache()).execution))
    probe = make_config().replace(recipe={"backbone": make_config().recipe["backbone"], "finetune": {"mode": "probe"}})
    keys.append(dtype_key(probe, Workbench.set_up(probe, colours, warm=WarmCache()).execution))
    assert keys[0] == keys[1] == keys[2]
    execution = Workbench.set_up(make_config(), colours, warm=WarmCache()).execution
    full, partial = (dtype_key(make_config(finetune={"mode": mode}), execution) for mode in ("full", "partial"))
    assert full == partial != keys[0]


class InFloat32Alone(nn.Module):
    """Has no kernel for bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise NotImplementedError("not implemented for 'BFloat16'")
        return (images_BCHW * self.scale).mean(dim=(2, 3))


@needs_bfloat16
def test_a_network_that_cannot_do_bfloat16_trains_without(
    make_config: Make, colours: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Workbench.set_up(make_config(), colours, warm=WarmCache())
    found = measured(bench.execution, InFloat32Alone(), bench.config, bench.backbone.preprocessing, heartbeat=silent)
    assert found.dtype == "float32"
    assert "bfloat16 is not taken: not implemented for 'BFloat16'" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="the rule of processors")
@pytest.mark.parametrize("kind", ["text", "image"])
def test_by_rule_a_processor_computes_in_bfloat16_for_texts_and_with_amx_alone(make_config: Make, kind: str) -> None:
    has_amx = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    dtype = choose_execution(make_config(), input_kind=kind, threads=1).dtype
    assert (dtype == "bfloat16") == (has_amx and kind == "text")
