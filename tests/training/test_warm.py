"""What a warm worker does once: the second trial of a network is opened without measuring or reading again."""

from collections.abc import Callable

from autoft.core.configs import TrialConfig
from autoft.data import Dataset
from autoft.training.warm import WarmCache
from autoft.training.workbench import Workbench

Make = Callable[..., TrialConfig]


def test_inputs_are_built_once_for_a_backbone(make_config: Make, colours: Dataset) -> None:
    warm = WarmCache()
    first, second = (Workbench.set_up(make_config(seed=seed), colours, warm=warm) for seed in (1, 2))
    assert first.inputs is second.inputs
    assert first.network is not second.network
    other = make_config(backbone={"name": "timm:test_resnet", "weights": "none", "input_size": 64})
    assert Workbench.set_up(other, colours, warm=warm).inputs is not first.inputs
