"""What the catalog says of Hugging Face models by their type is what models of the type do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers import __version__ as installed

from autoft.backbones import hf_facts
from autoft.backbones.backbone import watched_paths
from autoft.backbones.hf_vision import VisionEncoder, set_rate
from autoft.backbones.layers import batch_norms
from autoft.backbones.linears import block_linears
from autoft.core import catalog
from autoft.core.entries import hf_types

VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WINDOWS = {"embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "patch_size": 4}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2]}
PICTURES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(["vit", "deit", "ijepa", "vit_msn"], VIT | {"image_size": 64, "patch_size": 16}),
    **dict.fromkeys(["beit", "data2vec-vision", "siglip_vision_model"], VIT | {"image_size": 64, "patch_size": 16}),
    **dict.fromkeys(["clip_vision_model", "aimv2_vision_model"], VIT | {"image_size": 64, "patch_size": 16}),
    **dict.fromkeys(["dinov2", "dinov2_with_registers", "dinov3_vit"], VIT | {"image_size": 64, "patch_size": 16}),
    "swin": WINDOWS | {"image_size": 64, "window_size": 8},
    "swinv2": WINDOWS | {"image_size": 64, "window_size": 8},
    "convnext": STAGES | {"num_stages": 2, "image_size": 64},
    "convnextv2": STAGES | {"num_stages": 2, "image_size": 64},
    "resnet": STAGES | {"embedding_size": 8},
    "regnet": STAGES | {"embedding_size": 8, "groups_width": 8},
    "bit": STAGES | {"embedding_size": 8, "num_groups": 4},
    "poolformer": {"hidden_sizes": [8] * 4, "depths": [1, 1, 1, 2]},
    "focalnet": {"image_size": 64, "embed_dim": 8, "depths": [1, 2], "focal_levels": [1, 1], "focal_windows": [3, 3]},
    "pvt": {"image_size": 64, "depths": [1, 1, 1, 2], "hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1] * 4},
}


def tiny(model_type: str, settings: dict[str, Any]) -> PreTrainedConfig:
    return AutoConfig.for_model(model_type, **settings)


def features(config: PreTrainedConfig, side: int) -> torch.Tensor | None:
    """Return the features of one picture by a new model; None where it fails."""
    try:
        with torch.no_grad():
            pooled: torch.Tensor = VisionEncoder(AutoModel.from_config(config).eval())(torch.zeros(1, 3, side, side))
    except (RuntimeError, ValueError):
        return None
    return pooled


@pytest.mark.parametrize("model_type", PICTURES)
def test_the_facts_of_a_type_are_those_of_its_models(model_type: str) -> None:
    config = tiny(model_type, PICTURES[model_type])
    facts = hf_types.facts_of(model_type, hf_types.used(config.to_dict()))
    assert facts["fixed_size"] == (features(config, 32) is None)
    assert facts["one_size"] == (features(config, 96) is None and features(config, 128) is None)
    if "smallest" in facts:
        assert features(config, facts["smallest"]) is not None
    if isinstance(getattr(config, "drop_path_rate", None), float | list):
        set_rate(config, "drop_path_rate", 0.5)
    module = AutoModel.from_config(config).eval()
    with watched_paths(module) as called:
        VisionEncoder(module)(torch.zeros(1, 3, facts["input_size"], facts["input_size"]))
    assert facts["drop_path"] == bool(called)
    assert (facts.get("batch_norms") == 0) == (not batch_norms(module))
    linears = block_linears(module)
    assert (facts.get("linears") == 0) == (not linears)
    assert (facts.get("attention_linears") == 0) == (not any(linears.values()))


SMALL = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXTS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(["bert", "roberta", "xlm-roberta", "electra", "mpnet", "deberta-v2", "modernbert", "llama"], SMALL),
    "albert": SMALL | {"embedding_size": 16},
    "distilbert": {"vocab_size": 32, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "gpt2": {"vocab_size": 32, "n_embd": 16, "n_layer": 2, "n_head": 2},
}
SPECIAL = dict.fromkeys(["pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"], 1)


def is_random(config: PreTrainedConfig) -> bool:
    """Return whether two passes of a new model in training mode differ."""
    torch.manual_seed(0)
    module = AutoModel.from_config(config).train()
    ids = torch.full((4, 9), 5)
    with torch.no_grad():
        passes = [module(input_ids=ids).last_hidden_state for _ in range(2)]
    return not torch.equal(*passes)


@pytest.mark.parametrize("model_type", TEXTS)
def test_the_dropout_of_a_type_is_all_that_makes_passes_random(model_type: str) -> None:
    settings = TEXTS[model_type] | SPECIAL
    rates = hf_types.dropouts_of(model_type)
    assert rates
    own = tiny(model_type, settings)
    assert {name: getattr(own, name) for name in rates} == rates
    for config in (own, tiny(model_type, settings | dict.fromkeys(rates, 0.0))):
        facts = hf_types.facts_of(model_type, hf_types.used(config.to_dict()))
        assert is_random(config) == (facts["dropout"] > 0)
    for name in rates:
        assert is_random(tiny(model_type, settings | dict.fromkeys(rates, 0.0) | {name: 0.5}))


def test_known_encoders_without_dropout_are_modernbert_and_albert() -> None:
    still = {
        entry.name
        for entry in catalog.entries("backbone", task="text-classification")
        if entry.name.startswith("hf:") and entry.facts["dropout"] == 0
    }
    assert still == {"hf:answerdotai/ModernBERT-base", "hf:albert/albert-base-v2"}


def test_the_tables_are_of_the_installed_transformers() -> None:
    for path in (hf_types.TYPES_TABLE, hf_types.DROPOUTS_TABLE):
        assert path.read_text().splitlines()[0] == f"# transformers {installed}"


@pytest.mark.parametrize(
    "name",
    [
        *("ViTConfig", "SwinConfig", "ResNetConfig", "Aimv2VisionConfig", "ModernBertConfig", "DebertaV2Config"),
        *("BambaConfig", "GraniteMoeHybridConfig"),
    ],
)
def test_the_tables_hold_what_is_measured(name: str) -> None:
    kind = getattr(transformers, name)
    row = dict.fromkeys(hf_types.TYPES_COLUMNS, "") | hf_facts.measure_type(kind)
    assert row == hf_types._types()[kind.model_type]
    assert list(hf_facts.dropout_rows([kind])) == hf_types._dropouts().get(kind.model_type, [])


@pytest.mark.parametrize(
    ("model_type", "settings"),
    [("granitemoehybrid", {"layer_types": ["mamba", "attention"]}), ("bamba", {"attn_layer_indices": [1]})],
)
def test_a_type_whose_layers_attend_by_configuration_may_have_attention(
    model_type: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    with torch.device("meta"):
        linears = block_linears(AutoModel.from_config(tiny(model_type, {"num_hidden_layers": 2} | settings)))
    assert any(linears.values())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type} | settings))
    assert "attention_linears" not in catalog.entry("backbone", f"hf:{tmp_path}").facts


def test_a_dropout_setting_is_refused_where_nothing_drops(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "fnet"}')
    argument = catalog.entry("backbone", f"hf:{tmp_path}").argument("dropout")
    assert argument is not None
    assert argument.problem(0.1) is None
    still = next(name for name, rows in hf_types._dropouts().items() if rows[0]["setting"] == "" and is_text(name))
    (tmp_path / "config.json").write_text(f'{{"model_type": "{still}"}}')
    argument = catalog.entry("backbone", f"hf:{tmp_path}").argument("dropout")
    assert argument is not None
    assert argument.problem(0.1) == "must be null, not 0.1"
    assert argument.problem(None) is None


def is_text(model_type: str) -> bool:
    return hf_types.input_of(model_type) == "text"
