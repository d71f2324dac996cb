"""Data and backbones on which every setting can show what it does."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from autoft.core.configs import DataSpec, EpochResult, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.data import Dataset, open_dataset, prepare
from autoft.training.warm import WarmCache
from autoft.training.worker import open_trial
from tests.conftest import COLOURS, WORDS, write_pictures

IMAGE, TEXT = "image-classification", "text-classification"
CONVOLUTIONS: Json = {"name": "timm:test_resnet", "weights": "none", "input_size": 64}
TRANSFORMER: Json = {"name": "timm:test_vit", "weights": "none", "input_size": 160}
PER_CLASS = (8, 12, 20)
"""Rows of each class: what treats classes apart needs classes that differ."""
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT of 4 layers and 16 features that reads 512 tokens."""
    return write_encoder(tmp_path_factory.mktemp("encoder"), num_layers=4)


@pytest.fixture(scope="session")
def deep_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same of 10 layers, for what may freeze 9 of them."""
    return write_encoder(tmp_path_factory.mktemp("deep-encoder"), num_layers=10)


def write_encoder(folder: Path, *, num_layers: int) -> Path:
    """Write a BERT of so many layers and 16 features, with its tokenizer."""
    words = sorted({word for group in WORDS.values() for word in group} | {"film", "was", "and", "it"})
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=512,
        hidden_size=16,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """Return pictures and texts, few of one class and many of another; some texts have 300 words."""
    folder = tmp_path_factory.mktemp("law")
    pictures = write_pictures(folder / "pictures", per_class=max(PER_CLASS), side=48)
    for label, count in zip(COLOURS, PER_CLASS, strict=True):
        for path in sorted((pictures / label).iterdir())[count:]:
            path.unlink()
    _write_texts(folder / "texts.csv")
    found = {}
    for task, source in ((IMAGE, pictures), (TEXT, folder / "texts.csv")):
        spec = DataSpec(source=str(source), task=task)
        found[task] = open_dataset(prepare(str(source), spec, out=folder / f"{task}-data").path)
    return found


def _write_texts(path: Path) -> None:
    draws = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for label, count in zip(WORDS, (12, 32), strict=True):
            for index in range(count):
                words = draws.choice([*WORDS[label], "film", "was"], 300 if index % 4 == 0 else 3 + index)
                writer.writerow([" ".join(words), label])


Seen = list[Json]
"""What a trial shows of itself, epoch by epoch, less what is read off the clock."""


@pytest.fixture(scope="session")
def show(datasets: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Seen]:
    """Return what runs a recipe to its end, cut and resumed after each epoch if asked; the same one once."""
    warm = WarmCache()
    known: dict[str, Seen] = {}

    def show(recipe: Json, *, task: str, epochs: int = 2, cut: bool = False) -> Seen:
        config = TrialConfig(
            task=task,
            data={"fingerprint": datasets[task].fingerprint},
            recipe=complete(recipe, task=task),
            epochs=epochs,
            metrics=("accuracy",),
            seed=1,
        )
        key = f"{config.digest()} {cut}"
        if key not in known:
            known[key] = run(config, cut=cut)
        return known[key]

    def run(config: TrialConfig, *, cut: bool) -> Seen:
        dataset, store = datasets[config.task], Store.open(tmp_path_factory.mktemp("trial"))
        trial = open_trial(config, dataset, store=store, warm=warm)
        results: list[EpochResult] = []
        while not results or results[-1].status == "running":
            if cut:
                trial = open_trial(config, dataset, store=store, warm=warm, epochs_recorded=len(results))
            results.append(trial.run_epoch())
        return [_seen(result) for result in results]

    return show


def _seen(result: EpochResult) -> Json:
    measured = ("latency_ms", "peak_memory_mb")
    metrics = {name: value for name, value in result.metrics.items() if name not in measured}
    return {
        "metrics": metrics,
        "status": result.status,
        "learning_rate": result.learning_rate,
        "weights": result.weights_sha256,
    }
