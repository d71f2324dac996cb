"""Every mode of fine-tuning: what learns, when, from where, and how fast."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoft.core import catalog
from autoft.core.configs import TrialConfig
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json
from autoft.data import Dataset
from autoft.tasks import state_hash
from autoft.training.finetune import Plan, plan, set_train_mode
from autoft.training.finetune.modes import num_unfrozen
from autoft.training.solver import fit_linear
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench

VIT = {"name": "timm:test_vit", "weights": "none", "input_size": 32}
RESNET = {"name": "timm:test_resnet", "weights": "none", "input_size": 32}
VIT_GROUPS = 7
MODES = [entry.name for entry in catalog.entries("finetune") if entry.name != "probe"]
ADAPTERS = ("lora", "dora", "ia3")

SetUp = Callable[..., Workbench]


@pytest.fixture(scope="module")
def warm() -> WarmCache:
    return WarmCache()


@pytest.fixture
def set_up(make_config: Callable[..., TrialConfig], colours: Dataset, warm: WarmCache) -> SetUp:
    """Return a maker of benches on a tiny ViT; settings are those of the mode, sections those of the recipe."""

    def set_up(mode: str, settings: Json | None = None, **sections: Any) -> Workbench:
        given = {"backbone": VIT, **sections}
        config = make_config(finetune={"mode": mode, **(settings or {})}, **given)
        bench = Workbench.set_up(config, colours, warm=warm)
        bench.network.eval()
        return bench

    return set_up


def train(bench: Workbench, made: Plan, *, epochs: int = 3) -> nn.Module:
    """Take one step of SGD in each epoch, as the training loop would, and return the network."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([{"params": group.parameters, "lr": 0.3 * group.lr_scale} for group in made.groups])
    images = torch.randn(6, 3, 32, 32)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    if made.begin is not None:
        made.begin()
    for epoch in range(1, epochs + 1):
        if made.start_epoch is not None:
            made.start_epoch(epoch)
        set_train_mode(bench.network, kept_norms=made.kept_norms)
        nn.functional.cross_entropy(bench.network(images), targets).backward()
        if made.penalise is not None:
            made.penalise()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return bench.network.eval()


def is_expected(mode: str, name: str) -> bool:
    """Return whether a parameter of the ViT is to learn by a mode's defaults."""
    if name.startswith("head.") or mode in ("full", "lp_ft", "gradual"):
        return True
    return {
        "head": False,
        "partial": not re.match(r"backbone\.(cls_token|pos_embed|patch_embed\.)", name),
        "norm_bias": name.endswith(".bias") or "norm" in name,
        "lora": ".lora_" in name,
        "dora": ".lora_" in name,
        "ia3": ".ia3_l." in name,
    }[mode]


@pytest.mark.parametrize("mode", MODES)
def test_exactly_the_named_parameters_learn(set_up: SetUp, mode: str) -> None:
    bench = set_up(mode)
    made = plan(bench)
    before = {name: parameter.detach().clone() for name, parameter in bench.network.named_parameters()}
    expected = {name for name in before if is_expected(mode, name)}
    assert {name for name, parameter in bench.network.named_parameters() if parameter.requires_grad} == expected
    named = [name for group in made.groups for name in group.names]
    assert sorted(named) == sorted(expected)
    after = dict(train(bench, made).named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == expected


CHANGES: dict[tuple[str, str], Any] = {
    ("full", "layer_decay"): 0.5,
    ("full", "reinit_groups"): 2,
    ("full", "l2_sp"): 0.5,
    ("lp_ft", "layer_decay"): 0.5,
    ("lp_ft", "l2_sp"): 0.5,
    ("lp_ft", "probe_rows"): 9,
    ("partial", "frozen_groups"): 3,
    ("partial", "layer_decay"): 0.5,
    ("partial", "l2_sp"): 0.5,
    ("gradual", "unfreeze_fraction"): 1.0,
    ("gradual", "layer_decay"): 0.5,
    ("gradual", "l2_sp"): 0.5,
    **{
        (mode, name): value
        for mode in ("lora", "dora")
        for name, value in (("rank", 4), ("alpha", 32.0), ("dropout", 0.5), ("targets", "all"))
    },
}


def test_every_argument_of_every_mode_is_tried() -> None:
    entries = [entry for entry in catalog.entries("finetune") if entry.name != "probe"]
    assert set(CHANGES) == {(entry.name, argument.name) for entry in entries for argument in entry.arguments}


@pytest.mark.parametrize(("mode", "argument"), CHANGES)
def test_every_argument_changes_the_weights(set_up: SetUp, mode: str, argument: str) -> None:
    hashes = set()
    for settings in ({}, {argument: CHANGES[mode, argument]}):
        bench = set_up(mode, settings)
        hashes.add(state_hash(train(bench, plan(bench)).state_dict()))
    assert len(hashes) == 2


def test_a_plan_repeats_to_the_last_bit(set_up: SetUp) -> None:
    hashes = set()
    for _ in range(2):
        bench = set_up("lora", {"dropout": 0.5})
        hashes.add(state_hash(train(bench, plan(bench)).state_dict()))
    assert len(hashes) == 1


def test_layer_groups_learn_ever_slower_toward_the_input(set_up: SetUp) -> None:
    bench = set_up("full", {"layer_decay": 0.5}, head={"name": "linear", "lr_multiplier": 3.0})
    scales = {group.name.removesuffix(".no_decay"): group.lr_scale for group in plan(bench).groups}
    titles = [f"backbone.{title}" for title, _ in bench.backbone.layer_groups]
    assert list(scales) == ["head", *titles]
    assert list(scales.values()) == [3.0, *(0.5 ** (VIT_GROUPS - index) for index in range(VIT_GROUPS))]


def test_position_embeddings_and_class_tokens_do_not_decay(set_up: SetUp) -> None:
    still = {name for group in plan(set_up("full")).groups if not group.decay for name in group.names}
    assert {"backbone.cls_token", "backbone.pos_embed", "head.linear.bias"} <= still
    assert "backbone.patch_embed.proj.weight" not in still


def test_factors_and_lengths_of_adapters_do_not_decay_but_products_do(set_up: SetUp) -> None:
    for mode, is_still in (("ia3", lambda _: True), ("dora", lambda name: "magnitude" in name)):
        groups = [group for group in plan(set_up(mode)).groups if group.name.startswith("adapters")]
        assert all(group.decay is not is_still(name) for group in groups for name in group.names)


@pytest.mark.parametrize("mode", MODES)
def test_attention_pooling_learns_with_the_head_in_every_mode(set_up: SetUp, mode: str) -> None:
    bench = set_up(mode, backbone={**VIT, "pooling": "attention"}, head={"name": "linear", "lr_multiplier": 4.0})
    made = plan(bench)
    assert [(g.names, g.lr_scale) for g in made.groups if g.name.startswith("pooling")] == [
        (("backbone.pooling.query",), 4.0)
    ]
    train(bench, made)
    assert bench.backbone.pooling is not None
    assert all(parameter.abs().max() > 0 for parameter in bench.backbone.pooling.parameters())


def test_a_probe_pools_as_the_mean(set_up: SetUp) -> None:
    means = [
        set_up("probe", backbone={**VIT, "pooling": pooling}).frozen_features("val")
        for pooling in ("attention", "mean")
    ]
    assert torch.allclose(*means, atol=1e-6)


@pytest.mark.parametrize("frozen_groups", [VIT_GROUPS, VIT_GROUPS + 1])
def test_freezing_everything_is_refused(set_up: SetUp, frozen_groups: int) -> None:
    bench = set_up("partial")
    bench.config.recipe["finetune"]["frozen_groups"] = frozen_groups
    with pytest.raises(ConfigError) as caught:
        plan(bench)
    assert str(caught.value) == (
        f"finetune.frozen_groups is {frozen_groups} and would freeze all of timm:test_vit, which has 7 layer groups; "
        "give at most 6, or finetune.mode head."
    )


def test_frozen_groups_are_the_first(set_up: SetUp) -> None:
    bench = set_up("partial", {"frozen_groups": 2})
    plan(bench)
    learning = [all(p.requires_grad for p in group) for _, group in bench.backbone.layer_groups]
    assert learning == [False] * 2 + [True] * 5


@pytest.mark.parametrize(
    ("epochs", "fraction", "expected"),
    [
        (4, 1.0, [0, 3, 5, 7]),
        (8, 1.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (6, 0.5, [0, 4, 7, 7, 7, 7]),
        (4, 0.1, [0, 7, 7, 7]),
        (2, 1.0, [0, 7]),
        (1, 0.5, [7]),
    ],
)
def test_groups_thaw_evenly_up_to_the_fraction(epochs: int, fraction: float, expected: list[int]) -> None:
    found = [num_unfrozen(epoch, epochs, num_groups=7, fraction=fraction) for epoch in range(1, epochs + 1)]
    assert found == expected


@given(st.integers(2, 200), st.integers(1, 60), st.floats(0.01, 1))
def test_thawing_never_goes_back_and_reaches_all(epochs: int, num_groups: int, fraction: float) -> None:
    counts = [num_unfrozen(epoch, epochs, num_groups=num_groups, fraction=fraction) for epoch in range(1, epochs + 1)]
    assert counts[0] == 0
    assert counts[-1] == num_groups
    assert counts == sorted(counts)


def test_thawing_is_a_function_of_the_epoch_and_goes_from_the_output(set_up: SetUp) -> None:
    bench = set_up("gradual", {"unfreeze_fraction": 1.0})
    made = plan(bench)
    assert made.start_epoch is not None
    for epoch, count in ((3, 7), (1, 0), (2, 4)):
        made.start_epoch(epoch)
        learning = [all(p.requires_grad for p in group) for _, group in bench.backbone.layer_groups]
        assert learning == [False] * (7 - count) + [True] * count


def test_a_group_of_the_optimizer_thaws_whole(set_up: SetUp) -> None:
    bench = set_up("gradual", {"unfreeze_fraction": 1.0})
    made = plan(bench)
    assert made.start_epoch is not None
    seen = set()
    for epoch in (1, 2, 3):
        made.start_epoch(epoch)
        learning = [{parameter.requires_grad for parameter in group.parameters} for group in made.groups]
        assert all(len(found) == 1 for found in learning)
        seen.add(sum(True in found for found in learning))
    assert len(seen) == 3


def test_a_single_epoch_cannot_thaw_and_says_so(
    make_config: Callable[..., TrialConfig], colours: Dataset, warm: WarmCache, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(backbone=VIT, finetune={"mode": "gradual"}, epochs=1)
    plan(Workbench.set_up(config, colours, warm=warm))
    assert "single epoch: all layer groups learn from its start" in caplog.text


def test_a_frozen_backbone_drops_no_path_and_says_so(
    make_config: Callable[..., TrialConfig], colours: Dataset, warm: WarmCache, caplog: pytest.LogCaptureFixture
) -> None:
    for drop_path in (0.0, 0.1):
        assert "backbone.drop_path has no effect" not in caplog.text
        config = make_config(backbone={**VIT, "drop_path": drop_path}, finetune={"mode": "head"})
        plan(Workbench.set_up(config, colours, warm=warm))
    assert "finetune.mode head drops nothing within the backbone: backbone.drop_path has no effect." in caplog.text


def test_fresh_layers_are_the_last_and_the_seeds(set_up: SetUp) -> None:
    backbone = {**VIT, "weights": "none"}
    plain = dict(set_up("full", backbone=backbone).network.named_parameters())
    states = []
    for seed in (1, 1, 2):
        bench = set_up("full", {"reinit_groups": 3}, backbone=backbone, seed=seed)
        plan(bench)
        states.append({n: p.detach() for n, p in bench.network.backbone.named_parameters(prefix="backbone")})
    changed = {name for name in states[0] if not torch.equal(states[0][name], plain[name])}
    assert changed
    assert all(re.match(r"backbone\.(norm|blocks\.[345])\.", name) for name in changed)
    assert all(torch.equal(states[0][name], states[1][name]) for name in plain if name.startswith("backbone."))
    weight = "backbone.blocks.3.mlp.fc1.weight"
    assert not torch.equal(states[0][weight], states[2][weight])


def test_fresh_layers_start_with_fresh_statistics(set_up: SetUp) -> None:
    bench = set_up("full", {"reinit_groups": 2}, backbone=RESNET)
    norms = {name: part for name, part in bench.backbone.module.named_modules() if isinstance(part, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.running_mean.fill_(5.0)
        norm.weight.data.fill_(3.0)
    plan(bench)
    fresh = {name for name, norm in norms.items() if norm.running_mean.abs().max() == 0}
    assert fresh == {name for name in norms if name.startswith(("layer3.", "layer4."))}
    assert all((norms[name].weight.max() < 3) == (name in fresh) for name in norms)


@pytest.mark.parametrize("reinit_groups", [VIT_GROUPS, VIT_GROUPS + 1])
def test_fresh_weights_for_everything_are_refused(set_up: SetUp, reinit_groups: int) -> None:
    bench = set_up("full")
    bench.config.recipe["finetune"]["reinit_groups"] = reinit_groups
    with pytest.raises(ConfigError) as caught:
        plan(bench)
    assert str(caught.value) == (
        f"finetune.reinit_groups is {reinit_groups} and would leave nothing pretrained of timm:test_vit, which has 7 "
        "layer groups; give at most 6, or backbone.weights none."
    )


def test_l2_sp_adds_the_pull_to_the_start_of_what_was_kept(set_up: SetUp) -> None:
    bench = set_up("full", {"l2_sp": 0.25, "reinit_groups": 1})
    made = plan(bench)
    assert made.penalise is not None
    kept, fresh, head = (
        bench.network.get_parameter(name)
        for name in ("backbone.patch_embed.proj.bias", "backbone.norm.weight", "head.linear.bias")
    )
    for parameter in (kept, fresh, head):
        parameter.data += 2.0
        parameter.grad = torch.full_like(parameter, 0.125)
    made.penalise()
    assert torch.allclose(kept.grad, torch.full_like(kept, 0.125 + 0.25 * 2.0))
    assert fresh.grad.unique().tolist() == [0.125]
    assert head.grad.unique().tolist() == [0.125]
    assert bench.network.get_parameter("backbone.cls_token").grad is None


def test_without_strength_there_is_no_pull(set_up: SetUp) -> None:
    assert [plan(set_up(mode)).penalise for mode in ("full", "lp_ft", "partial", "gradual")] == [None] * 4


def test_lp_ft_starts_with_the_probes_head(set_up: SetUp) -> None:
    bench = set_up("lp_ft")
    made = plan(bench)
    assert made.begin is not None
    made.begin()
    layer = nn.Linear(64, 3)
    features = {split: bench.frozen_features(split).double() for split in ("train", "val")}
    fit_linear(layer, features, {split: bench.targets(split) for split in features})
    assert torch.equal(bench.network.get_parameter("head.linear.weight"), layer.weight)
    assert torch.equal(bench.network.get_parameter("head.linear.bias"), layer.bias)


def test_lp_ft_needs_a_linear_head(set_up: SetUp) -> None:
    bench = set_up("lp_ft")
    bench.config.recipe["head"]["name"] = "mlp"
    with pytest.raises(ConfigError, match=r"lp_ft starts from the linear probe: head\.name must be linear, not mlp"):
        plan(bench)


def test_lp_ft_of_a_network_of_batch_norms_starts_where_the_probe_ended(set_up: SetUp) -> None:
    bench = set_up("lp_ft", backbone=RESNET)
    made = plan(bench)
    assert made.begin is not None
    made.begin()
    rows = torch.arange(bench.dataset.num_rows("train"))
    batch = bench.inputs.finish(bench.inputs.batch(bench.encoded("train"), rows), torch.device("cpu"))
    with torch.no_grad():
        probed = bench.network.eval()(*batch)
        set_train_mode(bench.network, kept_norms=made.kept_norms)
        started = bench.network(*batch)
    assert torch.equal(started, probed)


@pytest.mark.parametrize("mode", ["norm_bias", "head", "full"])
def test_a_network_of_batch_norms_learns_where_it_should(set_up: SetUp, mode: str) -> None:
    bench = set_up(mode, backbone=RESNET)
    made = plan(bench)
    before = {name: buffer.clone() for name, buffer in bench.network.named_buffers()}
    names = {name for group in made.groups for name in group.names if name.startswith("backbone.")}
    convolutions = {name for name in names if bench.network.get_parameter(name).ndim == 4}
    assert bool(names) is (mode != "head")
    assert bool(convolutions) is (mode == "full")
    train(bench, made)
    moved = any(not torch.equal(buffer, before[name]) for name, buffer in bench.network.named_buffers())
    assert moved is (mode != "head")


def test_statistics_of_batches_that_no_norm_takes_are_said(set_up: SetUp, caplog: pytest.LogCaptureFixture) -> None:
    message = "finetune.mode partial freezes every batch norm: backbone.batch_norm batch has no effect."
    backbone = {"name": "timm:mobilenetv3_small_050", "weights": "none", "input_size": 32}
    for frozen_groups in (12, 13):  # Behind the first 13 there is a convolution and no norm.
        assert message not in caplog.text
        bench = set_up("partial", {"frozen_groups": frozen_groups}, backbone=backbone)
        bench.config.recipe["backbone"]["batch_norm"] = "batch"
        plan(bench)
    assert message in caplog.text


def test_frozen_parts_evaluate_and_parts_without_weights_follow_their_owner() -> None:
    frozen = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).requires_grad_(False)
    learning = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).requires_grad_(False), nn.Dropout(0.5))
    network = nn.Sequential(frozen, learning, nn.Sequential(nn.Dropout(0.5), nn.ReLU()))
    network.eval()
    set_train_mode(network)
    assert not any(part.training for part in frozen.modules())
    assert [part.training for part in learning] == [True, False, True]
    assert [part.training for part in network[2].modules()] == [True, True, True]
    learning.requires_grad_(False)
    set_train_mode(network)
    assert not any(part.training for part in network.modules())


def test_batch_norms_whose_statistics_are_kept_evaluate_and_learn() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    set_train_mode(network, kept_norms=[network[1]])
    assert [part.training for part in network] == [True, False, True, True]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_a_model_keeps_for_evaluation_is_forgotten() -> None:
    class Keeping(nn.Linear):
        kept: torch.Tensor | None = None

        def train(self, mode: bool = True) -> "Keeping":
            self.kept = None if mode else self.kept
            return super().train(mode)

    network = nn.Sequential(Keeping(2, 2))
    network.eval()
    network[0].kept = torch.ones(1)
    set_train_mode(network)
    assert network[0].kept is None
