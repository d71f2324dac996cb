"""What a warm worker does once: the second trial of a network is opened without measuring or reading again."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from autoft.backbones.layers import batch_norms
from autoft.core.configs import TrialConfig
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench
from autoft.training.worker import open_trial

Make = Callable[..., TrialConfig]


def test_inputs_are_built_once_for_a_backbone(make_config: Make, colours: Dataset) -> None:
    warm = WarmCache()
    first, second = (Workbench.set_up(make_config(seed=seed), colours, warm=warm) for seed in (1, 2))
    assert first.inputs is second.inputs
    assert first.network is not second.network
    other = make_config(backbone={"name": "timm:test_resnet", "weights": "none", "input_size": 64})
    assert Workbench.set_up(other, colours, warm=warm).inputs is not first.inputs


def test_trials_that_leave_the_backbone_as_it_is_share_its_memory_and_others_do_not(
    make_config: Make, colours: Dataset
) -> None:
    warm = WarmCache()

    def opened(mode: str) -> Workbench:
        return Workbench.set_up(make_config(finetune={"mode": mode}), colours, warm=warm)

    heads, full = [opened("head"), opened("head")], opened("full")
    places = [[one.data_ptr() for one in bench.backbone.module.parameters()] for bench in (*heads, full)]
    # A kernel that lies in another order for a layout of its own is a copy.
    shared = [one for one in places[0] if one in places[1]]
    assert len(shared) > len(places[0]) / 2
    assert not set(places[2]) & set(places[0])
    heads[0].backbone.module.requires_grad_(requires_grad=False)
    assert all(one.requires_grad for one in full.backbone.module.parameters())
    assert all(one.requires_grad for one in opened("full").backbone.module.parameters())


def test_a_trial_of_a_head_changes_nothing_for_those_after_it(
    make_config: Make, colours: Dataset, tmp_path: Path
) -> None:
    backbone = {"name": "timm:test_resnet", "weights": "none", "input_size": 96, "pooling": "attention"}

    def trained(warm: WarmCache, name: str, mode: str) -> str | None:
        config = make_config(backbone=backbone, finetune={"mode": mode})
        return open_trial(config, colours, store=Store.open(tmp_path / name), warm=warm).run_epoch().weights_sha256

    warm = WarmCache()
    first = [trained(warm, f"warm {number}", mode) for number, mode in enumerate(("head", "full", "head", "full"))]
    fresh = [trained(WarmCache(), f"fresh {mode}", mode) for mode in ("head", "full")]
    assert first == [*fresh, *fresh]


def test_the_convolutions_of_a_network_on_a_processor_learn_fast_in_bfloat16(
    make_config: Make, colours: Dataset
) -> None:
    config = make_config(backbone={"name": "timm:test_efficientnet", "weights": "none", "input_size": 32})
    network = Workbench.set_up(config, colours, warm=WarmCache()).network
    depthwise = [part for part in network.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]
    assert depthwise
    assert all(type(part).__mro__[1].__module__ == "autoft.training.depthwise" for part in depthwise)


def test_features_leave_a_frozen_backbone_in_evaluation_mode(make_config: Make, colours: Dataset) -> None:
    bench = Workbench.set_up(make_config(finetune={"mode": "head"}), colours, warm=WarmCache())
    bench.network.train()
    bench.backbone.module.eval()
    bench.frozen_features("val")
    assert bench.network.training
    assert batch_norms(bench.network)
    assert not any(part.training for part in bench.backbone.module.modules())
