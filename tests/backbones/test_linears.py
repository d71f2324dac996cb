"""Which linear layers are attention's, on models of both libraries."""

import re
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from autoft.backbones.linears import block_linears


def of_timm(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=0)


def of_hf(model_type: str, **sizes: int) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        config = AutoConfig.for_model(model_type, **sizes)
        module: nn.Module = AutoModel.from_config(config)
        return module

    return make


TWO = {"num_hidden_layers": 2}
MODELS: dict[str, tuple[Callable[[], nn.Module], set[str], set[str]]] = {
    "maxvit": (
        of_timm("test_maxvit"),
        {"attn_block.attn.qkv", "attn_block.attn.proj", "attn_grid.attn.qkv", "attn_grid.attn.proj"},
        {"attn_block.mlp.fc1", "attn_block.mlp.fc2", "attn_grid.mlp.fc1", "attn_grid.mlp.fc2"},
    ),
    "maxvit with MLPs of positions": (
        of_timm("maxxvit_rmlp_nano_rw_256"),
        {
            *("attn_block.attn.qkv", "attn_block.attn.proj", "attn_grid.attn.qkv", "attn_grid.attn.proj"),
            *("attn_block.attn.rel_pos.mlp.fc1", "attn_block.attn.rel_pos.mlp.fc2"),
            *("attn_grid.attn.rel_pos.mlp.fc1", "attn_grid.attn.rel_pos.mlp.fc2"),
        },
        {"attn_block.mlp.fc1", "attn_block.mlp.fc2", "attn_grid.mlp.fc1", "attn_grid.mlp.fc2"},
    ),
    "maxvit in parallel": (
        of_timm("maxvit_tiny_pm_256"),
        {"attn.attn_block.qkv", "attn.attn_block.proj", "attn.attn_grid.qkv", "attn.attn_grid.proj"},
        {"attn.mlp.fc1", "attn.mlp.fc2"},
    ),
    "coatnet": (of_timm("coatnet_0_rw_224"), set(), set()),  # all of it is convolutions
    "coatnet with MLPs of positions": (
        of_timm("coatnet_rmlp_nano_rw_224"),
        {"attn.rel_pos.mlp.fc1", "attn.rel_pos.mlp.fc2"},
        set(),
    ),
    "cait": (
        of_timm("cait_xxs24_224"),
        {f"attn.{name}" for name in ("q", "k", "v", "qkv", "proj", "proj_l", "proj_w")},
        {"mlp.fc1", "mlp.fc2"},
    ),
    "xcit": (
        of_timm("xcit_nano_12_p16_224"),
        {f"attn.{name}" for name in ("q", "k", "v", "qkv", "proj")},
        {"mlp.fc1", "mlp.fc2"},
    ),
    "csatv2": (
        of_timm("csatv2"),
        {"attn.qkv", "attn.proj", "attn.attn.qkv"},
        {"attn.attn.mlp.fc1", "attn.attn.mlp.fc2", "mlp.fc1", "mlp.fc2", "pwconv1", "pwconv2"},
    ),
    "vit": (of_timm("vit_tiny_patch16_224"), {"attn.qkv", "attn.proj"}, {"mlp.fc1", "mlp.fc2"}),
    "swin": (
        of_timm("swin_tiny_patch4_window7_224"),
        {"attn.qkv", "attn.proj"},
        {"mlp.fc1", "mlp.fc2", "downsample.reduction"},
    ),
    "swin v2": (
        of_timm("swinv2_tiny_window8_256"),
        {"attn.qkv", "attn.proj", "attn.cpb_mlp.0", "attn.cpb_mlp.2"},
        {"mlp.fc1", "mlp.fc2", "downsample.reduction"},
    ),
    "hf:bert": (
        of_hf("bert", **TWO),
        {f"attention.{name}" for name in ("self.query", "self.key", "self.value", "output.dense")},
        {"intermediate.dense", "output.dense"},
    ),
    "hf:modernbert": (of_hf("modernbert", **TWO), {"attn.Wqkv", "attn.Wo"}, {"mlp.Wi", "mlp.Wo"}),
    "hf:pixtral": (
        of_hf("pixtral", **TWO),
        {f"attention.{name}_proj" for name in "qkvo"},
        {f"feed_forward.{name}_proj" for name in ("gate", "up", "down")},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_attention_has_the_layers_that_no_feed_forward_part_holds(name: str) -> None:
    make, attention, others = MODELS[name]
    with torch.device("meta"):
        found = block_linears(make())
    sets: dict[bool, set[str]] = {True: set(), False: set()}
    for path, is_attention in found.items():
        within_block = re.sub(r"^(?:\w+\.)*?(?:\w+\.(?:\d+\.)+)+", "", path)
        sets[is_attention].add(within_block)
    assert sets == {True: attention, False: others}
