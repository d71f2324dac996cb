"""Each setting does what it says, or is refused; none is without effect."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import CvtConfig, LevitConfig, ResNetConfig

from autoft import backbones
from autoft.core.errors import ConfigError, FormatError

CVT = {
    "mlp_ratio": 2.0,
    "attention_drop_rate": 0.0,
    "drop_rate": 0.0,
    "qkv_bias": True,
    "kernel_qkv": 3,
    "qkv_projection_method": "dw_bn",
    "padding_kv": 1,
    "stride_kv": 2,
    "padding_q": 1,
    "stride_q": 1,
}
VIT = {"name": "timm:test_vit", "weights": "none"}


def bert(folder: Path, **settings: Any) -> backbones.Backbone:
    return backbones.build({"name": f"hf:{folder}", "max_length": 16, **settings})


def text() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[2, 4, 6, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])


def varies(module: torch.nn.Module, *inputs: torch.Tensor) -> bool:
    """Return whether two passes in training mode differ."""
    module.train()
    with torch.no_grad():
        return not torch.equal(module(*inputs), module(*inputs))


@pytest.mark.parametrize(("drop_path", "expected"), [(0.0, False), (0.5, True)])
def test_drop_path_drops_paths_of_a_timm_model(drop_path: float, expected: bool) -> None:
    torch.manual_seed(0)
    module = backbones.build({**VIT, "input_size": 64, "drop_path": drop_path}).module
    assert varies(module, torch.randn(8, 3, 64, 64)) is expected


@pytest.mark.parametrize(("drop_path", "expected"), [(0.0, False), (0.5, True)])
def test_drop_path_drops_paths_of_an_hf_model(swin_folder: Path, drop_path: float, expected: bool) -> None:
    torch.manual_seed(0)
    module = backbones.build({"name": f"hf:{swin_folder}", "drop_path": drop_path}).module
    assert varies(module, torch.randn(16, 3, 32, 32)) is expected


@pytest.mark.parametrize("name", ["vgg11", "mobilenetv1_100"])
def test_a_timm_model_without_residual_paths_refuses_drop_path(name: str) -> None:
    with pytest.raises(ConfigError, match=f"The setting drop_path of timm:{name} must be '0.0', not 0.1"):
        backbones.build({"name": f"timm:{name}", "weights": "none", "drop_path": 0.1})


def test_an_hf_model_without_residual_paths_refuses_drop_path(vit_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be '0\.0', not 0\.1: This model has no residual branch"):
        backbones.build({"name": f"hf:{vit_folder}", "input_size": 32, "drop_path": 0.1})
    unknown = {"name": "hf:someone/some-model", "weights": str(vit_folder), "input_size": 32}
    with pytest.raises(ConfigError, match=r"drop_path must be 0, not 0\.1"):
        backbones.build({**unknown, "drop_path": 0.1})


def test_a_model_without_batch_norms_refuses_the_statistics_of_batches(vit_folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.build({**VIT, "batch_norm": "batch"})
    assert str(caught.value) == (
        "The setting batch_norm of timm:test_vit must be 'pretrained', not 'batch': This model has no batch norms."
    )
    with pytest.raises(ConfigError, match="must be 'pretrained', not 'batch': This model has no batch norms"):
        backbones.build({"name": f"hf:{vit_folder}", "input_size": 32, "batch_norm": "batch"})
    unknown = {"name": "hf:someone/some-model", "weights": str(vit_folder), "input_size": 32}
    with pytest.raises(ConfigError, match="has no batch norms: batch_norm must be pretrained, not batch"):
        backbones.build({**unknown, "batch_norm": "batch"})


def test_a_model_with_batch_norms_takes_the_statistics_of_batches(tmp_path: Path) -> None:
    backbones.build({"name": "timm:test_resnet", "weights": "none", "input_size": 32, "batch_norm": "batch"})
    ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]).save_pretrained(tmp_path)
    name = f"hf:{tmp_path}"
    backbones.build({"name": name, "weights": "none", "input_size": 32, "batch_norm": "batch"})


def test_a_model_without_drop_path_builds_at_zero() -> None:
    config = {"name": "timm:test_efficientnet", "weights": "none", "input_size": 32, "drop_path": 0.0}
    assert backbones.build(config).architecture["kwargs"] == {}


def test_drop_path_of_stages_is_that_of_each(tmp_path: Path) -> None:
    sizes = {"patch_sizes": [7, 3], "patch_stride": [4, 2], "patch_padding": [2, 1], "embed_dim": [8, 16]}
    stages = {"num_heads": [1, 2], "depth": [1, 2], "cls_token": [False, True], "drop_path_rate": [0.0, 0.1]}
    more = {name: [value] * 2 for name, value in CVT.items()}
    CvtConfig(num_stages=2, **sizes, **stages, **more).save_pretrained(tmp_path)
    config = {"name": f"hf:{tmp_path}", "weights": "none", "input_size": 32}
    torch.manual_seed(0)
    assert varies(backbones.build({**config, "drop_path": 0.5}).module.eval(), torch.randn(16, 3, 32, 32))


def test_a_type_whose_rate_is_a_whole_number_builds_without_drop_path(tmp_path: Path) -> None:
    sizes = {"hidden_sizes": [16, 24], "num_attention_heads": [2, 2], "depths": [1, 1], "key_dim": [8, 8]}
    down = {"down_ops": [["Subsample", 8, 2, 4, 2, 2]], "attention_ratio": [2, 2], "mlp_ratio": [2, 2]}
    LevitConfig(image_size=64, **sizes, **down).save_pretrained(tmp_path)
    config = {"name": f"hf:{tmp_path}", "weights": "none"}
    assert backbones.build(config).preprocessing["size"] == 64
    with pytest.raises(ConfigError, match=r"must be '0\.0', not 0\.1"):
        backbones.build({**config, "drop_path": 0.1})
    with pytest.raises(ConfigError, match=r"input_size .* must be '64', not 96: This model takes pictures of one size"):
        backbones.build({**config, "input_size": 96})


def test_one_module_takes_pictures_of_other_sizes_than_it_was_built_for(vit_folder: Path) -> None:
    own = backbones.build({"name": f"hf:{vit_folder}", "input_size": 32}).module
    other = backbones.build({"name": f"hf:{vit_folder}", "input_size": 64}).module
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(own(images), other(images))


def test_the_side_of_pictures_is_a_number_of_whole_patches(vit_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"input_size .* a multiple of 16,.* not 40"):
        backbones.build({"name": f"hf:{vit_folder}", "input_size": 40})


def test_windows_need_pictures_that_they_fit_into(swin_folder: Path) -> None:
    backbones.build({"name": f"hf:{swin_folder}", "input_size": 40})
    with pytest.raises(ConfigError, match=r"input_size .* at least 32 .* not 24"):
        backbones.build({"name": f"hf:{swin_folder}", "input_size": 24})


def test_dropout_drops_in_an_hf_text_model(bert_folder: Path) -> None:
    assert varies(bert(bert_folder, dropout=0.5).module, *text())
    assert not varies(bert(bert_folder, dropout=0.0).module, *text())
    assert varies(bert(bert_folder, dropout=None).module, *text())  # BERT's own is 0.1


def test_mean_pooling_leaves_padding_out(bert_folder: Path) -> None:
    module = bert(bert_folder).module
    ids, mask = text()
    with torch.no_grad():
        states = module.encoder(input_ids=ids[:, :4]).last_hidden_state
        assert torch.allclose(module(ids, mask), states.mean(dim=1), atol=1e-6)


def test_cls_pooling_takes_the_first_token(bert_folder: Path) -> None:
    module = bert(bert_folder, pooling="cls").module
    ids, mask = text()
    with torch.no_grad():
        states = module.encoder(input_ids=ids[:, :4]).last_hidden_state
        assert torch.allclose(module(ids, mask), states[:, 0], atol=1e-6)


def test_text_models_attend_by_torchs_fused_kernel(bert_folder: Path) -> None:
    assert bert(bert_folder).module.encoder.config._attn_implementation == "sdpa"


def test_max_length_is_bounded_by_the_models_positions(bert_folder: Path, roberta_folder: Path) -> None:
    for folder in (bert_folder, roberta_folder):
        bert(folder, max_length=32)
        with pytest.raises(
            ConfigError, match=r"max_length .* must be a whole number of at least 4 and at most 32, not 33"
        ):
            bert(folder, max_length=33)


def test_the_longest_text_goes_through(roberta_folder: Path) -> None:
    ids = torch.full((1, 32), 5)
    assert bert(roberta_folder, max_length=32).module(ids, torch.ones_like(ids)).isfinite().all()


def test_the_tokenizer_neither_pads_nor_cuts_by_itself(bert_folder: Path) -> None:
    preprocessing = bert(bert_folder).preprocessing
    tokenizer = Tokenizer.from_str(preprocessing["tokenizer"])
    assert tokenizer.encode("It was a good film").ids == [2, 9, 8, 7, 4, 6, 3]
    assert tokenizer.encode("Bad").ids == [2, 5, 3]
    assert preprocessing["pad_id"] == 0


def test_padding_is_the_models_own(roberta_folder: Path) -> None:
    assert bert(roberta_folder).preprocessing["pad_id"] == 1


def test_pictures_of_another_size_go_through_a_fixed_size_model() -> None:
    backbone = backbones.build({**VIT, "input_size": 64})
    assert backbone.architecture["kwargs"]["img_size"] == 64
    assert backbone.preprocessing["size"] == 64


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_maxvit"])
def test_a_size_that_a_model_cannot_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} cannot take pictures of input_size 100: .*; its own is 160\."):
        backbones.build({"name": name, "weights": "none", "input_size": 100})


def test_normalisation_is_the_models_own(vit_folder: Path) -> None:
    pet = backbones.build({"name": f"hf:{vit_folder}", "input_size": 32}).preprocessing
    assert pet == {"kind": "image", "size": 32, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    lite = backbones.build({"name": "timm:tf_efficientnet_lite0", "weights": "none", "input_size": 32}).preprocessing
    assert lite == {"kind": "image", "size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_sise": 64}, "timm:test_vit has no setting 'input_sise'. Did you mean 'input_size'?"),
        ({"max_length": 64}, "timm:test_vit has no setting 'max_length'"),
        ({"input_size": 8}, "The setting input_size of timm:test_vit must be a whole number of at least 16"),
        ({"drop_path": 0.95}, "The setting drop_path of timm:test_vit must be a number"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.build({**VIT, **settings})
    assert str(caught.value).startswith(message)


def test_settings_of_pictures_are_refused_by_a_text_model_of_unknown_type(tmp_path: Path, bert_folder: Path) -> None:
    config = {"name": "hf:someone/some-model", "weights": str(bert_folder), "max_length": 16}
    assert backbones.build(config).num_features == 16
    for setting in ({"input_size": 128}, {"drop_path": 0.1}, {"batch_norm": "batch"}):
        with pytest.raises(ConfigError, match=f"reads texts: it has no setting '{next(iter(setting))}'"):
            backbones.build({**config, **setting})


def test_settings_of_texts_are_refused_by_a_picture_model_of_unknown_type(vit_folder: Path) -> None:
    config = {"name": "hf:someone/some-model", "weights": str(vit_folder), "input_size": 32}
    assert backbones.build(config).num_features == 16
    for setting in ({"max_length": 64}, {"pooling": "cls"}, {"dropout": 0.1}):
        with pytest.raises(ConfigError, match=f"reads pictures: it has no setting '{next(iter(setting))}'"):
            backbones.build({**config, **setting})


def test_code_that_a_repository_brings_along_is_never_run(tmp_path: Path, bert_folder: Path) -> None:
    folder, mark = tmp_path / "remote", tmp_path / "was-here"
    shutil.copytree(bert_folder, folder)
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="is no model that the installed transformers knows"):
        bert(folder)
    assert not mark.exists()


def test_a_tokenizer_with_more_words_than_the_model_is_refused(tmp_path: Path, bert_folder: Path) -> None:
    folder = tmp_path / "wordy"
    shutil.copytree(bert_folder, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["alpha", "beta", "gamma"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ConfigError, match="has 13 tokens, the model 12"):
        bert(folder)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path, bert_folder: Path) -> None:
    folder = tmp_path / "silent"
    shutil.copytree(bert_folder, folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds no fast tokenizer"):
        bert(folder)


def test_not_pretrained_means_random_weights(bert_folder: Path) -> None:
    config = {"name": f"hf:{bert_folder}", "max_length": 16}
    pretrained, random = backbones.build(config), backbones.build(config, pretrained=False)
    assert random.weights["source"] == "random weights"
    assert random.weights["sha256"] != pretrained.weights["sha256"]
    assert random.architecture == pretrained.architecture


@pytest.mark.parametrize(
    "architecture",
    [{}, {"library": "other"}, {"library": "timm", "name": "no_such_model", "kwargs": {}, "pooled": True}],
)
def test_a_bundle_of_an_unknown_architecture_is_a_format_error(architecture: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        backbones.rebuild(architecture)
