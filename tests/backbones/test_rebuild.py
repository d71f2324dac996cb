from typing import Any

import pytest

from autoft import backbones
from autoft.core.errors import FormatError


@pytest.fixture(scope="module")
def architecture() -> dict[str, Any]:
    return backbones.build({"name": "timm:test_resnet", "weights": "none", "input_size": 32}).architecture


def test_a_bundle_names_no_model_of_the_hub_or_of_a_folder(architecture: dict[str, Any]) -> None:
    for name in ("hf-hub:somebody/model", "local-dir:/tmp/model", "hf_hub:somebody/model"):
        with pytest.raises(FormatError, match="cannot be built"):
            backbones.rebuild({**architecture, "name": name})


@pytest.mark.parametrize(
    "kwargs",
    [{"checkpoint_path": "weights.pth"}, {"pretrained": True}, {"pretrained_cfg_overlay": {"file": "weights.pth"}}],
)
def test_a_bundle_makes_timm_load_no_file(architecture: dict[str, Any], kwargs: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="which autoft does not write"):
        backbones.rebuild({**architecture, "kwargs": kwargs})
