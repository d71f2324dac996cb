"""Layer groups of encoders: what all layers read is the first's, what follows the layers the last's."""

import pytest
import timm
import torch
from transformers import AutoModel, DebertaV2Config, ModernBertConfig, MPNetConfig, PretrainedConfig, ViTConfig

from autoft.backbones.layers import groups_by_name, timm_groups

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def groups(config: PretrainedConfig) -> dict[str, list[str]]:
    """Return the names of the parameters of each group, in order."""
    with torch.device("meta"):
        module = AutoModel.from_config(config)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    found = groups_by_name(module.named_parameters(), nested=True)
    return {title: [name_of[id(parameter)] for parameter in group] for title, group in found}


@pytest.mark.parametrize(
    ("config", "shared"),
    [
        (MPNetConfig(vocab_size=12, **TINY), {"encoder.relative_attention_bias.weight"}),
        (
            DebertaV2Config(vocab_size=12, relative_attention=True, norm_rel_ebd="layer_norm", **TINY),
            {"encoder.rel_embeddings.weight", "encoder.LayerNorm.weight", "encoder.LayerNorm.bias"},
        ),
    ],
    ids=["mpnet", "deberta"],
)
def test_positions_that_every_layer_reads_are_in_the_first_group(config: PretrainedConfig, shared: set[str]) -> None:
    found = groups(config)
    assert list(found)[:3] == ["input", "encoder.layer.0", "encoder.layer.1"]
    assert shared <= set(found["input"])


@pytest.mark.parametrize(
    ("config", "last", "norm"),
    [
        (ModernBertConfig(vocab_size=12, pad_token_id=0, **TINY), "layers.1", "final_norm.weight"),
        (ViTConfig(image_size=32, patch_size=16, **TINY), "layers.1", "layernorm.weight"),
    ],
    ids=["modernbert", "vit"],
)
def test_a_norm_after_the_layers_belongs_to_the_last_of_them(config: PretrainedConfig, last: str, norm: str) -> None:
    found = groups(config)
    assert len(found) == 3
    title, names = list(found.items())[-1]
    assert title.endswith(last)
    assert norm in names
    assert any(name.startswith(f"{title}.") for name in names)


@pytest.mark.parametrize(
    ("name", "num_groups", "last", "norm"),
    [
        ("convnext_tiny", 19, "stages.3.blocks.2", "head.norm.weight"),
        ("beit_base_patch16_224", 13, "blocks.11", "fc_norm.weight"),
        ("eva02_tiny_patch14_224", 13, "blocks.11", "fc_norm.weight"),
        ("vit_small_patch16_224", 13, "blocks.11", "norm.weight"),
    ],
)
def test_a_norm_that_timm_counts_to_the_classifier_belongs_to_the_last_layer(
    name: str, num_groups: int, last: str, norm: str
) -> None:
    with torch.device("meta"):
        module = timm.create_model(name, num_classes=0)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    found = timm_groups(module)
    assert len(found) == num_groups
    title, members = found[-1]
    names = [name_of[id(parameter)] for parameter in members]
    assert norm in names
    assert any(name.startswith(f"{last}.") for name in names)
    assert title in (last, "output")
