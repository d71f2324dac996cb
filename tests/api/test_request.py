import pytest

from autoft.api.request import check_checkpointing
from autoft.core.configs import Resources
from autoft.core.errors import ConfigError
from autoft.space import SearchSpace

BACKBONE = {"name": "timm:test_resnet", "weights": "none", "input_size": 32}


def space(modes: list[str]) -> SearchSpace:
    branches = [{"mode": mode} for mode in modes]
    return SearchSpace.from_json(
        {"task": "image-classification", "backbone": BACKBONE, "finetune": {"choice": branches}}, name="mine"
    )


def test_gradient_checkpointing_without_effect_is_refused() -> None:
    wanted = Resources(gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="would have no effect: the space 'mine' trains heads alone; leave it out"):
        check_checkpointing(wanted, space(["head"]))
    check_checkpointing(wanted, space(["head", "full"]))
    check_checkpointing(Resources(), space(["head"]))
