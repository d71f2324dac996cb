"""Memory that runs out: the same update in smaller pieces, said in the configuration, and remembered."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.errors import ConfigError, WorkError
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.execution import Execution
from autoft.training.loop import Trial
from autoft.training.memory import Peak, is_out_of_memory, pieces
from autoft.training.worker import open_trial
from tests.training.conftest import without_clock

Make = Callable[..., TrialConfig]
VIT: Json = {"name": "timm:test_vit", "weights": "none", "input_size": 160}
MEASURES = ExecutionPolicy(measures=True)


@pytest.fixture(autouse=True)
def own_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def open_here(colours: Dataset, tmp_path: Path) -> Callable[..., Trial]:
    """Return a maker of trials whose network has memory for `rows` in training, from its `after`th pass on."""

    def make(
        config: TrialConfig,
        name: str,
        *,
        rows: int | None = None,
        after: int = 0,
        policy: ExecutionPolicy | None = None,
    ) -> Trial:
        trial = open_trial(config, colours, store=Store.open(tmp_path / name), policy=policy)
        assert isinstance(trial, Trial)
        passes = 0

        def refuse(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            nonlocal passes
            passes += part.training
            if rows is not None and part.training and passes > after and len(inputs[0]) > rows:
                torch.empty(1 << 50, dtype=torch.uint8)  # torch's allocator refuses it.

        trial.bench.network.register_forward_pre_hook(refuse)
        return trial

    return make


def weights(trial: Trial) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trial.bench.network.parameters()])


@pytest.mark.parametrize(
    ("sections", "micro_batch"),
    [
        ({"optimizer": {"name": "sgd", "lr": 0.1}}, 6),
        ({"augmentation": {"name": "randaugment"}, "mixing": {"name": "mixup"}, "accumulation": 2}, 4),
        ({"optimizer": {"name": "sam", "base": {"name": "sgd", "lr": 0.1}}}, 6),
        ({"loss": {"name": "cross_entropy", "class_weights": "balanced"}, "clip_norm": None}, 6),
    ],
    ids=["plain", "augmented and accumulated", "sam", "weighted"],
)
def test_an_update_in_halves_is_the_same_update(
    make_config: Make, open_here: Callable[..., Trial], sections: Json, micro_batch: int
) -> None:
    config = make_config(backbone=VIT, epochs=1, **{"batch_size": 12, "augmentation": {"name": "none"}, **sections})
    whole, halved = open_here(config, "whole"), open_here(config, "halved", rows=6)
    results = [trial.run_epoch() for trial in (whole, halved)]
    assert (whole.bench.execution.micro_batch, halved.bench.execution.micro_batch) == (12, micro_batch)
    torch.testing.assert_close(weights(whole), weights(halved), rtol=1e-3, atol=2e-5)
    assert results[0].metrics["train_loss"] == pytest.approx(results[1].metrics["train_loss"], rel=1e-4)


def test_the_configuration_that_is_reported_says_so_and_gives_the_same_digits_again(
    make_config: Make, open_here: Callable[..., Trial]
) -> None:
    config = make_config(epochs=2, batch_size=6, augmentation={"name": "flip"})
    first = open_here(config, "first", rows=3, after=8)
    results = [first.run_epoch(), first.run_epoch()]
    assert [result.config and result.config["execution"]["micro_batch"] for result in results] == [6, 3]
    assert first.config.execution["ran_out"] == {"6": 8}
    again = open_here(first.config, "again")
    repeated = [again.run_epoch(), again.run_epoch()]
    assert [result.weights_sha256 for result in repeated] == [result.weights_sha256 for result in results]
    assert again.config == first.config


def test_a_trial_that_ran_out_and_was_cut_ends_as_one_that_was_not_cut(
    make_config: Make, open_here: Callable[..., Trial]
) -> None:
    config = make_config(epochs=3, batch_size=6)
    whole = open_here(config, "whole", rows=3, after=8)
    expected = [without_clock(whole.run_epoch()) for _ in range(3)]
    cut = open_here(config, "cut", rows=3, after=8)
    seen = [without_clock(cut.run_epoch()) for _ in range(2)]
    resumed = open_trial(config, whole.bench.dataset, store=cut._checkpoints.store, epochs_recorded=2)
    assert [*seen, without_clock(resumed.run_epoch())] == expected


def test_like_configurations_begin_with_what_memory_held(make_config: Make, open_here: Callable[..., Trial]) -> None:
    config = make_config(epochs=1, batch_size=12)
    open_here(config, "first", rows=5, policy=MEASURES).run_epoch()
    after = {
        "like": open_here(make_config(epochs=2, batch_size=12, seed=7), "like", policy=MEASURES),
        "by rule": open_here(config, "rule"),
        "other batch": open_here(make_config(batch_size=9), "batch", policy=MEASURES),
        "other mode": open_here(make_config(batch_size=12, finetune={"mode": "norm_bias"}), "mode", policy=MEASURES),
    }
    found = {name: trial.bench.execution.micro_batch for name, trial in after.items()}
    assert found == {"like": 3, "by rule": 12, "other batch": 9, "other mode": 12}
    assert after["like"].config.execution["ran_out"] == {}


def test_batch_norms_are_said_to_differ(
    make_config: Make, open_here: Callable[..., Trial], caplog: pytest.LogCaptureFixture
) -> None:
    open_here(make_config(epochs=1, batch_size=12), "norms", rows=6).run_epoch()
    open_here(make_config(epochs=1, batch_size=12, backbone=VIT), "none", rows=6).run_epoch()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("Memory ran out at 12 rows in update 0: from here on 6 go through at a time")
    assert "the result differs" in first
    assert second.endswith("The result stays the same but for rounding.")


def test_the_last_resort_is_gradient_checkpointing_and_then_a_sentence(
    make_config: Make, open_here: Callable[..., Trial]
) -> None:
    trial = open_here(make_config(epochs=1, batch_size=4, backbone=VIT), "trial", rows=0)
    with pytest.raises(WorkError, match=r"1 rows at a time \(.*can't allocate memory.*\)\. Take a"):
        trial.run_epoch()
    assert trial.bench.execution.micro_batch == 1
    assert trial.config.execution["gradient_checkpointing"] is True


@pytest.mark.parametrize(
    ("backbone", "inner"),
    [
        (VIT, "blocks.0.attn"),
        ({"name": "timm:test_efficientnet", "weights": "none", "input_size": 32}, "blocks.0.0.conv"),
    ],
    ids=["vit", "efficientnet"],
)
def test_gradient_checkpointing_changes_no_digit_and_computes_blocks_twice(
    make_config: Make, open_here: Callable[..., Trial], backbone: Json, inner: str
) -> None:
    config = make_config(epochs=1, batch_size=12, backbone=backbone)
    hashes, passes = [], []
    for checkpointing in (False, True):
        policy = ExecutionPolicy(gradient_checkpointing=checkpointing)
        trial = open_here(config, str(checkpointing), policy=policy)
        assert trial.config.execution["gradient_checkpointing"] is checkpointing
        seen: list[bool] = []
        within = trial.bench.backbone.module.get_submodule(inner)
        within.register_forward_hook(lambda part, *_, seen=seen: seen.append(part.training))
        hashes.append(trial.run_epoch().weights_sha256)
        passes.append(sum(seen))
    assert hashes[0] == hashes[1]
    assert passes == [3, 6]


def test_checkpointing_that_a_backbone_cannot_do_is_refused(make_config: Make, open_here: Callable[..., Trial]) -> None:
    backbone = {"name": "timm:dla34", "weights": "none", "input_size": 32}
    trial = make_config(backbone=backbone)
    policy = ExecutionPolicy(gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="timm:dla34 cannot do gradient checkpointing: leave out the option"):
        open_here(trial, "trial", policy=policy)
    assert open_here(make_config(finetune={"mode": "head"}), "head", policy=policy).bench.execution.compile is False


def test_evaluation_goes_on_with_half_the_rows(make_config: Make, open_here: Callable[..., Trial]) -> None:
    trial = open_here(make_config(epochs=1), "trial", policy=MEASURES)

    def refuse(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not part.training and len(inputs[0]) > 4:
            raise MemoryError

    trial.bench.network.register_forward_pre_hook(refuse)
    assert trial.run_epoch().metrics["val_loss"] is not None
    assert trial.config.execution["eval_batch"] == 3
    assert open_here(make_config(epochs=1), "next", policy=MEASURES).bench.execution.eval_batch == 3


def test_other_errors_are_not_taken_for_it() -> None:
    assert is_out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
    )
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_pieces_are_nearly_equal_and_in_order() -> None:
    rows = torch.arange(7)
    assert [(a.tolist(), b.tolist()) for a, b in pieces((rows, -rows), 3)] == [
        ([0, 1, 2], [0, -1, -2]),
        ([3, 4], [-3, -4]),
        ([5, 6], [-5, -6]),
    ]


def test_an_update_before_memory_ran_out_has_the_rows_of_then() -> None:
    values = {"device": "cpu", "device_name": "x", "threads": 1, "dtype": "float32", "channels_last": True}
    execution = Execution.from_json({**values, "micro_batch": 4, "eval_batch": 8, "ran_out": {"16": 3, "8": 9}})
    assert [execution.micro_batch_of(update) for update in (0, 2, 3, 8, 9, 100)] == [16, 16, 8, 8, 4, 4]


def test_the_peak_is_of_the_time_since_it_began() -> None:
    before = Peak("cpu").megabytes()
    large = torch.ones(128 << 18)
    during = Peak("cpu").megabytes()
    assert during > before + 100
    del large
    assert Peak("cpu").megabytes() < during - 100


def test_a_trial_whose_worker_was_ended_for_want_of_memory_goes_on_with_half(
    make_config: Make, open_here: Callable[..., Trial]
) -> None:
    config = make_config(epochs=2, batch_size=12)
    first = open_here(config, "trial")
    first.run_epoch()
    found = []
    for _ in range(2):
        policy, store = ExecutionPolicy(measures=True, takes_less=True), first._checkpoints.store
        again = open_trial(first.config, first.bench.dataset, store=store, epochs_recorded=1, policy=policy)
        found.append((again.config.execution["micro_batch"], again.config.execution["ran_out"]))
    assert found == [(6, {"12": 3}), (3, {"12": 3})]
    assert again.run_epoch().config["execution"]["micro_batch"] == 3
    assert open_here(make_config(batch_size=12, seed=9), "next", policy=MEASURES).bench.execution.micro_batch == 3
