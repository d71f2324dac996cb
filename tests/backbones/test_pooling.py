"""From states to features: exact values, the models' own poolings, and what is refused."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autoft import backbones
from autoft.backbones.pooling import AttentionPooling, make_pooling
from autoft.backbones.timm_pooling import PooledTimm, pooled_timm
from autoft.core.errors import ConfigError

STATES = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]]])
MASK = torch.tensor([[1, 1, 0]])


def timm_backbone(name: str, **settings: Any) -> backbones.Backbone:
    return backbones.build({"name": f"timm:{name}", "weights": "none", "input_size": 32, **settings})


def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "mask", "expected"),
    [
        ("mean", None, [3.0, 3.0]),
        ("mean", MASK, [2.0, 1.0]),
        ("cls", MASK, [1.0, 0.0]),
        ("attention", None, [3.0, 3.0]),
        ("attention", MASK, [2.0, 1.0]),
    ],
)
def test_features_of_states(name: str, mask: Tensor | None, expected: list[float]) -> None:
    assert make_pooling(name, 2)(STATES, mask).tolist() == [pytest.approx(expected)]


def test_attention_weighs_states_by_their_likeness_to_the_query() -> None:
    pooling = AttentionPooling(2)
    pooling.query.data = torch.tensor([math.sqrt(2) * math.log(3), 0.0])
    # Scores are log(3) times the first feature: weights 3 : 27 of the first two states.
    assert pooling(STATES, MASK).tolist() == [pytest.approx([0.1 * 1 + 0.9 * 3, 0.9 * 2])]


def test_padding_changes_no_feature_of_a_text(bert_folder: Path) -> None:
    module = backbones.build({"name": f"hf:{bert_folder}", "max_length": 16, "pooling": "attention"}).module
    module.get_parameter("pooling.query").data.normal_(generator=torch.Generator().manual_seed(0))
    ids, mask = torch.tensor([[2, 4, 6, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        assert torch.allclose(module(ids, mask), module(ids[:, :4], mask[:, :4]), atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet", "mobilenetv3_small_050"])
@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_mean_of_places_is_what_convolutional_models_take(name: str, pooling: str) -> None:
    own, other = timm_backbone(name).module, timm_backbone(name, pooling=pooling).module
    with torch.no_grad():
        assert torch.allclose(other(pictures()), own(pictures()), rtol=1e-4, atol=1e-6)


def test_the_class_token_is_what_a_vit_takes() -> None:
    own, cls = timm_backbone("test_vit").module, timm_backbone("test_vit", pooling="cls").module
    with torch.no_grad():
        assert torch.allclose(cls(pictures()), own(pictures()), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_mean_over_a_vit_leaves_the_class_token_out(pooling: str) -> None:
    module: Any = timm_backbone("test_vit", pooling=pooling).module
    with torch.no_grad():
        states = module.encoder.forward_features(pictures())
        assert torch.allclose(module(pictures()), states[:, 1:].mean(dim=1), atol=1e-5)


def test_states_with_channels_last_are_pooled_over_their_places() -> None:
    backbone = backbones.build(
        {"name": "timm:swin_tiny_patch4_window7_224", "weights": "none", "pooling": "attention", "input_size": 64}
    )
    module: Any = backbone.module
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(module(images), module.encoder(images), atol=1e-5)


def test_only_attention_has_fresh_parameters() -> None:
    assert timm_backbone("test_vit").pooling is None
    assert timm_backbone("test_vit", pooling="mean").pooling is None
    pooling = timm_backbone("test_vit", pooling="attention").pooling
    assert pooling is not None
    assert [name for name, _ in pooling.named_parameters()] == ["query"]


def test_pooling_changes_no_pretrained_weight() -> None:
    assert timm_backbone("test_vit").weights == timm_backbone("test_vit", pooling="attention").weights


def test_a_model_without_class_token_refuses_cls() -> None:
    with pytest.raises(ConfigError, match="The setting pooling of timm:test_resnet must be 'mean' or 'attention'"):
        timm_backbone("test_resnet", pooling="cls")
    encoder = timm_backbone("test_resnet").module
    with pytest.raises(ConfigError, match="has no class token: the setting 'pooling' must be mean, attention or null"):
        pooled_timm("it", encoder, "cls", has_own=True, size=32)


def test_a_model_of_several_states_cannot_be_pooled_otherwise() -> None:
    class Branches(nn.Module):
        def forward_features(self, images: Tensor) -> list[Tensor]:
            return [images, images]

    with pytest.raises(ConfigError, match="it gives no states of places that could be pooled"):
        pooled_timm("it", Branches(), "mean", has_own=True, size=32)


def test_an_encoder_without_pooling_gets_the_mean() -> None:
    for pooling in (None, "mean"):
        module = pooled_timm("it", nn.Identity(), pooling, has_own=False, size=4)
        assert isinstance(module, PooledTimm)
        assert module(torch.arange(24.0).reshape(1, 2, 3, 4)).tolist() == [[5.5, 17.5]]


@pytest.mark.parametrize(
    ("fixture", "expected"),
    [
        ("bert_folder", {"encoder.embeddings.position_embeddings.weight"}),
        ("vit_folder", {"encoder.embeddings.cls_token", "encoder.embeddings.position_embeddings"}),
        (
            "swin_folder",
            {
                f"encoder.encoder.layers.{stage}.blocks.{block}.attention.relative_position_bias.relative_position_bias_table"
                for stage, block in ((0, 0), (1, 0), (1, 1))
            },
        ),
    ],
)
def test_positions_and_class_tokens_do_not_decay(
    request: pytest.FixtureRequest, fixture: str, expected: set[str]
) -> None:
    backbone = backbones.build(
        {"name": f"hf:{request.getfixturevalue(fixture)}"}
        | ({"max_length": 16} if fixture == "bert_folder" else {"input_size": 32})
    )
    assert backbone.no_decay == expected


def test_what_timm_says_does_not_decay() -> None:
    assert timm_backbone("test_vit").no_decay == {"cls_token", "pos_embed"}
    assert timm_backbone("test_vit", pooling="mean").no_decay == {"encoder.cls_token", "encoder.pos_embed"}
    assert timm_backbone("test_resnet").no_decay == frozenset()


def test_word_embeddings_are_the_part_from_ids_to_vectors(bert_folder: Path, vit_folder: Path) -> None:
    backbone = backbones.build({"name": f"hf:{bert_folder}", "max_length": 16})
    assert backbone.embeddings is backbone.module.get_submodule("encoder.embeddings.word_embeddings")
    assert backbones.build({"name": f"hf:{vit_folder}", "input_size": 32}).embeddings is None
    assert timm_backbone("test_vit").embeddings is None


def test_no_bias_of_the_first_weights_outlives_the_loading_of_others() -> None:
    built = backbones.build({"name": "timm:levit_conv_128s", "weights": "none", "pooling": "attention"})
    again = backbones.rebuild(built.architecture, seed=5)
    with torch.no_grad():
        for name, parameter in built.module.named_parameters():
            if name.endswith("attention_biases"):
                parameter.add_(torch.arange(float(parameter.shape[-1])))
        built.module.train()
        built.module.eval()
        again.module.load_state_dict(built.module.state_dict())
        images = torch.randn(1, 3, 224, 224)
        assert torch.equal(again.module(images), built.module(images))
