"""LoRA, DoRA and (IA)^3 on encoders of both libraries: where they go, that they start as nothing, that they fold in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, PretrainedConfig, SwinConfig, ViTConfig

from autoft import backbones
from autoft.backbones import Backbone
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json
from autoft.tasks import LinearHead, Network
from autoft.training.finetune import install_adapters, merge_adapters

TINY: Json = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PICTURE: Json = {"kind": "image", "size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}
TEXT: Json = {"kind": "text", "max_length": 16, "tokenizer": "", "pad_id": 0}
LORA: Json = {"mode": "lora", "rank": 3, "alpha": 6.0, "dropout": 0.0, "targets": "all"}
SETTINGS: dict[str, Json] = {"lora": LORA, "dora": {**LORA, "mode": "dora"}, "ia3": {"mode": "ia3"}}


def encoder(config: PretrainedConfig, preprocessing: Json, settings: Json) -> Callable[[], Backbone]:
    architecture = {
        "library": "transformers",
        "name": "tiny",
        "config": config.to_dict() | {"model_type": config.model_type},
        "num_features": 16,
        "settings": settings,
        "preprocessing": preprocessing,
    }
    return lambda: backbones.rebuild(architecture)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "bert": encoder(BertConfig(vocab_size=12, max_position_embeddings=32, **TINY), TEXT, {"pooling": "attention"}),
    "vit": encoder(ViTConfig(image_size=32, patch_size=16, **TINY), PICTURE, {"interpolate": False}),
    "swin": encoder(
        SwinConfig(image_size=32, patch_size=4, window_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2]),
        PICTURE,
        {"interpolate": False},
    ),
    "timm": lambda: backbones.build({"name": "timm:test_vit", "weights": "none", "input_size": 32}),
}


def network_of(backbone: Backbone) -> Network:
    return Network(backbone.module, LinearHead(backbone.num_features, 3, dropout=0.0, generator=torch.Generator()))


def install(name: str, settings: Json, *, seed: int = 1) -> tuple[Network, Backbone]:
    backbone = BACKBONES[name]()
    network = network_of(backbone)
    install_adapters(network, backbone, {"backbone": {"name": name}, "finetune": settings}, seed=seed)
    return network.eval(), backbone


def inputs_of(backbone: Backbone) -> tuple[Tensor, ...]:
    draws = torch.Generator().manual_seed(0)
    if backbone.preprocessing["kind"] == "image":
        return (torch.randn(2, 3, 32, 32, generator=draws),)
    ids = torch.randint(4, 10, (2, 7), generator=draws)
    return ids, torch.ones_like(ids)


def shaken(network: Network) -> None:
    """Move every parameter that learns as training might."""
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=0.1)


def adapted(network: Network) -> list[str]:
    """Return the layers that have adapters."""
    marks = (".lora_A.default.weight", ".ia3_l.default")
    names = [name for name, _ in network.backbone.named_parameters()]
    return [name.removesuffix(mark) for name in names for mark in marks if name.endswith(mark)]


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.parametrize("name", BACKBONES)
def test_adapters_start_as_nothing_and_fold_in_to_the_plain_network(name: str, mode: str) -> None:
    plain = network_of(BACKBONES[name]()).eval()
    network, backbone = install(name, SETTINGS[mode])
    inputs = inputs_of(backbone)
    with torch.no_grad():
        assert torch.allclose(network(*inputs), plain(*inputs), atol=1e-6)
        shaken(network)
        trained = network(*inputs)
        assert (trained - plain(*inputs)).abs().max() > 1e-4
        merge_adapters(network)
        assert list(network.state_dict()) == list(plain.state_dict())
        assert [type(part) for part in network.modules()] == [type(part) for part in plain.modules()]
        plain.load_state_dict(network.state_dict())
        assert torch.allclose(plain(*inputs), trained, atol=1e-5)


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.parametrize("name", BACKBONES)
def test_every_adapter_gets_a_gradient_and_all_else_is_frozen(name: str, mode: str) -> None:
    network, backbone = install(name, SETTINGS[mode])
    network(*inputs_of(backbone)).square().sum().backward()
    learning = {path for path, parameter in network.backbone.named_parameters() if parameter.grad is not None}
    expected = {path for path, _ in network.backbone.named_parameters() if "lora_" in path or "ia3_l" in path}
    assert learning == expected | ({"pooling.query"} if name == "bert" else set())


BERT = [f"encoder.encoder.layer.{layer}." for layer in (0, 1)]
ATTENTION = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]


@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({**LORA, "targets": "attention"}, ATTENTION),
        (LORA, [*ATTENTION, "intermediate.dense", "output.dense"]),
        ({"mode": "ia3"}, ["attention.self.key", "attention.self.value", "output.dense"]),
    ],
    ids=["attention", "all", "ia3"],
)
def test_adapters_go_to_the_layers_that_are_wanted(settings: Json, layers: list[str]) -> None:
    network, _ = install("bert", settings)
    assert sorted(adapted(network)) == sorted(block + layer for block in BERT for layer in layers)


def test_ia3_scales_inner_activations_but_no_merging_of_patches() -> None:
    network, _ = install("swin", {"mode": "ia3"})
    assert not [path for path in adapted(network) if "downsample" in path]
    assert len([path for path in adapted(network) if path.endswith("mlp.fc2")]) == 2


def test_where_a_block_called_attention_holds_an_mlp_too_adapters_tell_them_apart() -> None:
    parts: dict[str, set[str]] = {}
    for mode, settings in {"lora": {**LORA, "targets": "attention"}, "ia3": {"mode": "ia3"}}.items():
        backbone = backbones.build({"name": "timm:test_maxvit", "weights": "none"})
        network = network_of(backbone)
        install_adapters(network, backbone, {"backbone": {"name": "test_maxvit"}, "finetune": settings}, seed=1)
        parts[mode] = {path.partition(".attn_")[2] for path in adapted(network)}
    assert parts == {
        "lora": {"block.attn.qkv", "block.attn.proj", "grid.attn.qkv", "grid.attn.proj"},
        "ia3": {"block.attn.qkv", "block.mlp.fc2", "grid.attn.qkv", "grid.mlp.fc2"},
    }


def test_lora_is_the_base_plus_alpha_over_rank_of_the_product() -> None:
    network, _ = install("timm", {**LORA, "alpha": 12.0})
    shaken(network)
    layer: Any = network.backbone.get_submodule("blocks.0.mlp.fc1")
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert down.shape == (3, 64)
    values = torch.randn(5, 64)
    expected = layer.base_layer(values) + 12 / 3 * values @ down.T @ up.T
    assert torch.allclose(layer(values), expected, atol=1e-5)


def test_first_weights_are_the_seeds_and_cost_no_draw() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    states = [install("timm", LORA, seed=seed)[0].state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(2), expected)
    name = "backbone.blocks.0.attn.qkv.lora_A.default.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])


@pytest.mark.parametrize(
    ("settings", "where"),
    [({**LORA, "targets": "attention"}, "attention"), (LORA, "blocks"), ({"mode": "ia3"}, "attention")],
    ids=["attention", "all", "ia3"],
)
def test_a_backbone_without_linear_layers_is_refused(settings: Json, where: str) -> None:
    backbone = backbones.build({"name": "timm:test_resnet", "weights": "none", "input_size": 32})
    recipe = {"backbone": {"name": "timm:test_resnet"}, "finetune": settings}
    with pytest.raises(ConfigError) as caught:
        install_adapters(network_of(backbone), backbone, recipe, seed=0)
    assert str(caught.value) == (
        f"finetune.mode {settings['mode']} has no layer to go to: timm:test_resnet has no linear layers in its {where}."
    )


class Block(nn.Module):
    """Torch's own attention, which reads the weights of its last layer without calling it, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.after = nn.Linear(8, 8)

    def forward(self, states: Tensor) -> Tensor:
        attended: Tensor = self.after(self.attention(states, states, states)[0])
        return attended


def test_layers_that_are_never_called_get_no_adapter() -> None:
    class Pictures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block()])

        def forward(self, images: Tensor) -> Tensor:
            features: Tensor = self.blocks[0](images[:, :, 0, :8]).mean(dim=1)
            return features

    backbone = Backbone(
        module=Pictures().eval(), num_features=8, layer_groups=[], preprocessing=PICTURE, architecture={}, weights={}
    )
    network = network_of(backbone)
    install_adapters(network, backbone, {"backbone": {"name": "own"}, "finetune": LORA}, seed=0)
    assert adapted(network) == ["blocks.0.after"]


@pytest.mark.parametrize("mode", ["full", "probe"])
def test_other_modes_have_no_adapters(mode: str) -> None:
    network, _ = install("timm", {"mode": mode})
    before = list(network.state_dict())
    merge_adapters(network)
    assert list(network.state_dict()) == before
    assert all(parameter.requires_grad for parameter in network.parameters())
