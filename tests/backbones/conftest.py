"""Tiny Hugging Face models with their tokenizers, made on the spot."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, SwinConfig, SwinModel, ViTConfig, ViTModel

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "a", "was", "it"]


def write_tokenizer(folder: Path) -> None:
    """Write a word-level tokenizer that pads and cuts by itself, as some hub models' do."""
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(folder / "tokenizer.json"))


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT of 2 layers and 16 features, saved with its pooler."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=12, max_position_embeddings=32, **TINY)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def roberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a RoBERTa for 32 tokens: it has 34 positions, and counts from behind its padding id, 1."""
    folder = tmp_path_factory.mktemp("roberta")
    torch.manual_seed(1)
    RobertaModel(RobertaConfig(vocab_size=12, max_position_embeddings=34, **TINY)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a ViT for 32 px."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(1)
    ViTModel(ViTConfig(image_size=32, patch_size=16, **TINY), add_pooling_layer=False).save_pretrained(folder)
    normalisation = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation))
    return folder


@pytest.fixture(scope="session")
def swin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Swin for 32 px, with two stages of one and two blocks, whose pooler has no weights."""
    folder = tmp_path_factory.mktemp("swin")
    torch.manual_seed(1)
    config = SwinConfig(image_size=32, patch_size=4, window_size=4, embed_dim=8, depths=[1, 2], num_heads=[1, 2])
    SwinModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
