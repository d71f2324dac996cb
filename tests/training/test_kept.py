"""Frozen first layers run once over the rows: what is trained is the same, and what cannot be kept runs each time."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoft.core.configs import DataSpec, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.shelf import in_memory
from autoft.core.storage import Store
from autoft.data import Dataset, open_dataset, prepare
from autoft.training.checkpoint import Checkpoints
from autoft.training.cutting import Cut, cuts, skipped
from autoft.training.loop import Trial
from autoft.training.states import Layout, States
from autoft.training.warm import WarmCache
from autoft.training.worker import open_trial
from tests.conftest import write_texts
from tests.law.conftest import write_encoder
from tests.training.conftest import without_clock

VIT: Json = {"name": "timm:test_vit", "weights": "none", "input_size": 32}
RESNET: Json = {"name": "timm:test_resnet", "weights": "none", "input_size": 64}
PARTIAL: Json = {"mode": "partial", "frozen_groups": 4}
STILL: Json = {"augmentation": {"name": "none"}}
SGD: Json = {"name": "sgd", "lr": 0.1}
Make = Callable[..., TrialConfig]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; returns the folder of prepared data."""
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Texts of unlike length in two classes, 24 of them to train on."""
    folder = tmp_path_factory.mktemp("reviews")
    path = write_texts(folder / "texts.csv", per_class=20)
    lines = path.read_text().splitlines()
    longer = [line.replace(" was ", " was " + "fine and " * (number % 7)) for number, line in enumerate(lines)]
    path.write_text("\n".join(longer) + "\n")
    spec = DataSpec(source=str(path), task="text-classification")
    return open_dataset(prepare(str(path), spec, out=folder / "data").path)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A BERT of four layers, with dropout."""
    return {"name": f"hf:{write_encoder(tmp_path_factory.mktemp('bert'), num_layers=4)}"}


@pytest.fixture
def make(colours: Dataset, reviews: Dataset, bert: Json) -> Make:
    """Return a maker of partly frozen trials' configurations, of texts or of pictures, which are as they are."""

    def make(kind: str = "text", *, epochs: int = 2, **sections: Any) -> TrialConfig:
        dataset, task = (reviews if kind == "text" else colours), f"{kind}-classification"
        backbone = bert if kind == "text" else VIT
        given = {"backbone": backbone, "finetune": PARTIAL, "batch_size": 7, "optimizer": SGD, **STILL, **sections}
        return TrialConfig(
            task=task,
            data={"fingerprint": dataset.fingerprint},
            recipe=complete(given, task=task),
            epochs=epochs,
            metrics=("accuracy",),
            seed=1,
        )

    return make


@pytest.fixture(scope="module")
def warm() -> WarmCache:
    return WarmCache()


@pytest.fixture
def open_here(colours: Dataset, reviews: Dataset, warm: WarmCache, tmp_path: Path) -> Callable[..., Trial]:
    """Return what opens a trial in a store of its name."""

    def open_here(config: TrialConfig, name: str = "trial", **given: Any) -> Trial:
        dataset = reviews if config.task.startswith("text") else colours
        trial = open_trial(config, dataset, store=Store.open(tmp_path / name), **{"warm": warm, **given})
        assert isinstance(trial, Trial)
        return trial

    return open_here


Open = Callable[..., Trial]


def in_full(config: TrialConfig) -> TrialConfig:
    """Return a filled configuration whose frozen layers run in every pass."""
    return config.replace(execution={**config.execution, "frozen_once": False})


def weights(trial: Trial) -> Tensor:
    kept = trial._kept
    return torch.cat([parameter.detach().flatten() for parameter in kept.parameters()])


CASES: dict[str, tuple[str, Json]] = {
    "texts, r-drop, accumulated": ("text", {"regularization": {"name": "r_drop"}, "accumulation": 2}),
    "texts, dropout, averaged": ("text", {"averaging": {"name": "ema"}}),
    "texts, averaged late": ("text", {"averaging": {"name": "swa"}, "finetune": {**PARTIAL, "l2_sp": 0.1}}),
    "pictures": ("image", {}),
    "pictures, sam": ("image", {"optimizer": {"name": "sam", "base": SGD}}),
    "convolutions": ("image", {"backbone": RESNET, "finetune": {"mode": "partial", "frozen_groups": 3}}),
}


QUICK = ("texts, dropout, averaged", "pictures", "convolutions")


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_trial_learns_the_same_as_one_whose_frozen_layers_run_in_every_pass(
    make: Make, open_here: Open, case: str
) -> None:
    kind, sections = CASES[case]
    kept = open_here(make(kind, **sections), "kept")
    full = open_here(in_full(kept.config), "full")
    assert [trial.config.execution["frozen_once"] for trial in (kept, full)] == [True, False]
    for _ in range(2):
        results = [trial.run_epoch() for trial in (kept, full)]
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert results[0].metrics[name] == pytest.approx(results[1].metrics[name], rel=1e-4)
    torch.testing.assert_close(weights(kept), weights(full), rtol=1e-4, atol=1e-5)


@contextmanager
def counted(trial: Trial) -> Iterator[Counter[str]]:
    """Count the passes through each of the network's layers with weights, and of the average's if there is one."""
    count: Counter[str] = Counter()

    def count_at(path: str) -> Callable[..., None]:
        return lambda *_: count.update([path])

    networks = {id(network): network for network in (trial.bench.network, trial._kept)}.values()
    handles = [
        part.register_forward_hook(count_at(path))
        for network in networks
        for path, part in network.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d)
    ]
    yield count
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("kind", "sections", "blocks"),
    [
        ("text", {"averaging": {"name": "ema"}}, "backbone.encoder.encoder.layer"),
        ("image", {}, "backbone.blocks"),
    ],
    ids=["texts, averaged", "pictures"],
)
def test_frozen_layers_do_not_run_while_a_trial_trains_and_validates(
    make: Make, open_here: Open, kind: str, sections: Json, blocks: str
) -> None:
    trial = open_here(make(kind, **sections))
    trial.run_epoch()
    with counted(trial) as count:
        trial.bench._costs["latency_ms"] = 0.0  # that is of the whole network
        trial.run_epoch()
    ran = {int(path.removeprefix(f"{blocks}.").partition(".")[0]) for path in count if path.startswith(f"{blocks}.")}
    assert min(ran) == 3


def test_a_network_that_ran_cut_is_as_before(make: Make, open_here: Open) -> None:
    trial = open_here(make("image"))
    network, names = trial.bench.network, list(trial.bench.network.state_dict())
    trial.run_epoch()
    assert list(network.state_dict()) == names
    assert not [path for path, part in copy.deepcopy(network).named_modules() if "forward" in vars(part)]
    logits = trial.bench.logits("val")
    trial.bench.kept = None
    torch.testing.assert_close(trial.bench.logits("val"), logits, rtol=1e-4, atol=1e-5)


def test_trials_of_a_machine_share_what_frozen_layers_give(make: Make, open_here: Open, cache: Path) -> None:
    first = open_here(make(), "first", warm=WarmCache())
    assert first.bench.kept is not None
    assert [states.nbytes for states in first.bench.kept.states.values()] == [0, 0]  # mapped
    before = {path: path.stat().st_ino for path in cache.iterdir()}
    assert len(before) == 4  # tokens and states, of two splits
    other = make(optimizer={"name": "adamw", "lr": 1e-3}, batch_size=5, head={"name": "mlp"})
    open_here(other, "second", warm=WarmCache())
    assert {path: path.stat().st_ino for path in cache.iterdir()} == before
    open_here(make(finetune={"mode": "partial", "frozen_groups": 3}), "fewer", warm=WarmCache())
    assert len(list(cache.iterdir())) == 6


def test_a_torn_table_is_made_again_and_the_digits_stay(make: Make, open_here: Open, cache: Path) -> None:
    config = make()
    results = []
    for name in ("cold", "warm", "torn"):
        if name == "torn":
            for path in cache.iterdir():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        trial = open_here(config, name, warm=WarmCache())
        results.append([without_clock(trial.run_epoch()) for _ in range(2)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("kind", ["text", pytest.param("image", marks=pytest.mark.slow)])
def test_a_trial_that_was_cut_ends_as_one_that_was_not(make: Make, open_here: Open, kind: str) -> None:
    config = make(kind, epochs=3, averaging={"name": "ema", "decay": 0.9})
    whole = open_here(config, "whole")
    expected = [without_clock(whole.run_epoch()) for _ in range(3)]
    seen = [without_clock(open_here(config, "cut", epochs_recorded=epoch).run_epoch()) for epoch in range(3)]
    assert seen == expected
    again = open_here(whole.config, "again")
    assert [without_clock(again.run_epoch()) for _ in range(3)] == expected


def test_a_configuration_that_does_not_speak_of_it_is_trained_as_before_there_was_it(
    make: Make, open_here: Open
) -> None:
    execution = dict(open_here(make(), "new").config.execution)
    del execution["frozen_once"]
    assert open_here(make().replace(execution=execution), "old").bench.kept is None


def test_a_checkpoint_that_does_not_speak_of_it_is_gone_on_from_as_it_was_begun(
    make: Make, open_here: Open, tmp_path: Path
) -> None:
    first = open_here(in_full(open_here(make(), "chosen").config), "cut")
    first.run_epoch()
    checkpoints = Checkpoints(Store.open(tmp_path / "cut"))
    last = checkpoints.load("last")
    assert last is not None
    del last.about["found"]["frozen_once"]
    with checkpoints.drafted({}, last.tensors) as drafts:
        checkpoints.publish(drafts, last=last.about)
    again = open_here(make(), "cut")
    assert (again.epoch, again.bench.kept) == (1, None)


@pytest.mark.usefixtures("cache")
def test_memory_that_runs_out_halves_the_rows_and_changes_nothing(make: Make, open_here: Open) -> None:
    whole, halved = (open_here(make("image"), name) for name in ("whole", "halved"))

    def refuse(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if part.training and len(inputs[0]) > 3:
            torch.empty(1 << 50, dtype=torch.uint8)  # torch's allocator refuses it.

    halved.bench.network.register_forward_pre_hook(refuse)
    for trial in (whole, halved):
        trial.run_epoch()
    assert [trial.bench.execution.micro_batch for trial in (whole, halved)] == [7, 3]
    torch.testing.assert_close(weights(whole), weights(halved), rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("kind", ["text", pytest.param("image", marks=pytest.mark.slow)])
def test_activations_are_computed_again_where_memory_is_at_its_end(make: Make, open_here: Open, kind: str) -> None:
    config = open_here(make(kind), "chosen").config
    checkpointed = config.replace(execution={**config.execution, "gradient_checkpointing": True})
    trials = [open_here(config, "plain"), open_here(checkpointed, "checkpointed")]
    assert all(trial.bench.kept is not None for trial in trials)
    for trial in trials:
        trial.run_epoch()
    torch.testing.assert_close(weights(trials[0]), weights(trials[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("cache")
def test_states_that_memory_does_not_hold_at_once_are_computed_in_fewer_rows(
    make: Make, open_here: Open, bert: Json
) -> None:
    def refuse(_part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > 9:
            torch.empty(1 << 50, dtype=torch.uint8)  # torch's allocator refuses it.

    tight = WarmCache()
    tight.backbone(make().recipe["backbone"], learns=True)
    (kept,) = tight._backbones.values()
    kept.module.get_submodule("encoder.encoder.layer.0").register_forward_pre_hook(refuse)
    fewer, whole = open_here(make(), "fewer", warm=tight), open_here(make(), "whole", warm=WarmCache())
    assert [trial.bench.execution.eval_batch for trial in (fewer, whole)] == [8, 32]
    for trial in (whole, fewer):
        trial.run_epoch()
    torch.testing.assert_close(weights(whole), weights(fewer), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("text", {"finetune": {"mode": "full"}}),
        ("text", {"finetune": {"mode": "gradual"}}),
        ("text", {"finetune": {"mode": "norm_bias"}}),
        ("text", {"finetune": {"mode": "lora", "rank": 2}}),
        ("text", {"finetune": {"mode": "partial", "frozen_groups": 1}}),
        ("text", {"mixing": {"name": "embedding_mixup"}}),
        ("text", {"regularization": {"name": "fgm"}}),
        ("text", {"epochs": 1}),
        ("image", {"augmentation": {"name": "flip"}}),
        ("image", {"mixing": {"name": "mixup"}}),
        (
            "image",
            {"backbone": RESNET, "finetune": {**PARTIAL, "frozen_groups": 2}, "resizing": {"name": "progressive"}},
        ),
        ("image", {"finetune": {"mode": "head"}}),
    ],
    ids=str,
)
def test_nothing_is_kept_where_rows_change_or_little_would_be_won(
    make: Make, open_here: Open, kind: str, sections: Json
) -> None:
    trial = open_here(make(kind, **sections))
    assert trial.bench.kept is None
    assert trial.config.execution["frozen_once"] is False


def test_nothing_is_kept_that_takes_more_than_an_eighth_of_the_limit(
    make: Make, open_here: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOFT_CACHE_GB", "1e-5")
    assert open_here(make()).bench.kept is None


def test_a_pooling_that_learns_on_a_frozen_encoder_is_all_that_runs(make: Make, open_here: Open, bert: Json) -> None:
    trial = open_here(make(backbone={**bert, "pooling": "attention"}, finetune={"mode": "head"}))
    assert trial.bench.kept is not None
    assert trial.bench.kept.cut.behind == "backbone.encoder.encoder.layer.3"


class Block(nn.Module):
    """A layer that also does something with what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, states: Tensor, beside: Tensor) -> tuple[Tensor, None]:
        return torch.tanh(self.linear(states)) + beside, None


class Chain(nn.Module):
    """Three blocks, the last of which may also get what a part of the first kind gives."""

    def __init__(self, *, skips: bool = False, shares: bool = False, mixes: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.late = nn.Linear(4, 4)
        self.skips, self.shares, self.mixes = skips, shares, mixes

    def forward(self, rows: Tensor) -> Tensor:
        states = first = self.stem(rows)
        for number in range(len(self.blocks)):
            beside = self.late(rows) if self.mixes and number == 1 else rows.mean(dim=1, keepdim=True)
            states, _ = self.blocks[0 if self.shares and number == 1 else number](states, beside)
        return states + first if self.skips else states


def cuts_of(chain: Chain, num_frozen: int) -> tuple[list[Cut], Tensor]:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    frozen = {id(parameter) for part in (chain.stem, *chain.blocks[:num_frozen]) for parameter in part.parameters()}
    learning = [parameter for parameter in chain.parameters() if id(parameter) not in frozen]
    for parameter in chain.parameters():
        parameter.requires_grad_(id(parameter) not in frozen)
    return cuts(chain, lambda: chain(rows), [id(parameter) for parameter in learning]), rows


def test_a_network_is_cut_behind_its_last_frozen_block() -> None:
    found, rows = cuts_of(chain := Chain(), 2)
    assert found == [
        Cut(behind="blocks.1", widths={"stem": 0, "blocks.0": 2, "blocks.1": 2}),
        Cut(behind="blocks.1", widths={"blocks.0": 2, "blocks.1": 2}),
    ]
    beside = rows.mean(dim=1, keepdim=True)
    states = chain.blocks[1](chain.blocks[0](chain.stem(rows), beside)[0], beside)[0]
    whole = chain(rows)
    for cut in found:
        with skipped(chain, cut, states):
            assert torch.equal(chain(rows), whole)
    assert torch.equal(chain(rows), whole)


def test_a_connection_over_the_cut_shows_in_what_comes_out() -> None:
    found, rows = cuts_of(chain := Chain(skips=True), 2)
    states = torch.zeros(5, 4)
    with skipped(chain, found[0], states):
        assert not torch.allclose(chain(rows), chain.blocks[2](states, rows.mean(dim=1, keepdim=True))[0])


def test_a_block_that_runs_twice_is_no_place_to_cut() -> None:
    found, _ = cuts_of(Chain(shares=True), 2)
    assert [cut.behind for cut in found] == ["stem"]


def test_states_that_depend_on_what_learns_are_not_kept() -> None:
    found, _ = cuts_of(Chain(mixes=True), 2)
    assert [cut.behind for cut in found] == ["blocks.0", "blocks.0"]


def test_a_network_whose_first_part_learns_is_not_cut() -> None:
    chain = Chain()
    every = [id(parameter) for parameter in chain.parameters()]
    assert cuts(chain, lambda: chain(torch.zeros(5, 4)), every) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_states_of_pictures_come_back_as_they_were(dtype: torch.dtype, layout: torch.memory_format) -> None:
    states = torch.randn(6, 3, 4, 5).to(dtype).contiguous(memory_format=layout)
    kept = Layout.of(states, None)
    assert kept is not None
    table = in_memory(iter([kept.record_batch(part, [1] * len(part)) for part in states.split(4)]), kept.schema)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    found = States(table, order, kept).batch(torch.tensor([5, 5, 1]))
    assert torch.equal(found, states[[3, 3, 1]])
    assert found.is_contiguous(memory_format=layout)


def test_states_of_texts_come_back_without_what_they_were_padded_with() -> None:
    states, ids = torch.randn(3, 6, 2), torch.zeros(3, 6, dtype=torch.int64)
    kept = Layout.of(states, ids)
    assert kept is not None
    table = in_memory(iter([kept.record_batch(states, [2, 6, 3])]), kept.schema)
    found = States(table, torch.arange(3), kept).batch(torch.tensor([2, 0]))
    assert torch.equal(found, torch.stack([states[2, :3], torch.cat([states[0, :2], torch.zeros(1, 2)])]))
    assert kept.num_bytes(torch.tensor([2, 6, 3])) == table.table.column(0).combine_chunks().values.nbytes == 88


def test_states_that_are_not_one_for_each_token_are_not_kept() -> None:
    ids = torch.zeros(3, 6, dtype=torch.int64)
    assert Layout.of(torch.zeros(3, 8, 2), ids) is None
    assert Layout.of(torch.zeros(3, 6, 2, dtype=torch.float64), ids) is None
