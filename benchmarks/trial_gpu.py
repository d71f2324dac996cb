"""Trials on a GPU: autoft's loop beside an expert's and beside plain training, with random weights and made-up rows.

resnet50 and vit_small at 224 pixels, bert-base at 128 tokens. The expert keeps rows as bytes in pinned memory, sends
the next batch while one computes, and trains in bfloat16 with channels_last and a fused optimizer; plain is timm's and
transformers' own model under torch's loader in float32. Nothing is fetched, and Ray is not used. On a processor the
same code runs tiny models, which shows that it runs.
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autoft.core.jsonable import Json

PEAK_FLOPS: Mapping[str, float] = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Of matrix products in bfloat16 without sparsity, by a part of the device's name; from NVIDIA's data sheets."""
NUM_CLASSES = 10
WORDS = [f"w{number}" for number in range(1000)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model that is trained."""

    name: str
    kind: str
    """"text" or "image"."""
    size: int
    """Pixels or tokens of a row."""
    batch: int


REAL = (
    Model(name="resnet50", kind="image", size=224, batch=128),
    Model(name="vit_small_patch16_224", kind="image", size=224, batch=128),
    Model(name="bert-base", kind="text", size=128, batch=64),
)
TINY = (
    Model(name="test_resnet", kind="image", size=64, batch=8),
    Model(name="test_vit", kind="image", size=160, batch=8),
    Model(name="bert-tiny", kind="text", size=16, batch=8),
)


def measure_gpu(device: str, *, quick: bool) -> Json:
    """Return rows per second of every model and loop, and the share of the device's peak.

    Args:
        device: "cuda" or "cpu".
        quick: Whether to train as little as shows that all of it runs.

    Raises:
        RuntimeError: If there is no GPU, and one is asked for.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here; `--device cpu` tries the code with tiny models.")
    name = torch.cuda.get_device_name() if device == "cuda" else "processor"
    models = REAL if device == "cuda" else TINY
    found: Json = {"device": name, "torch": torch.__version__}
    for model in models:
        with tempfile.TemporaryDirectory(prefix="autoft-gpu-") as folder:
            rows = model.batch * (3 if quick else 40)
            found[model.name] = _measure(model, Path(folder), torch.device(device), rows=rows, rounds=1 if quick else 5)
    return {"gpu": found}


def _measure(model: Model, folder: Path, device: Any, *, rows: int, rounds: int) -> Json:
    import torch

    from autoft.core.storage import Store
    from autoft.data import open_dataset
    from autoft.training.worker import open_trial
    from benchmarks.trial_sides import training_seconds

    dataset = open_dataset(_write_rows(model, folder, rows))
    config = _config(model, folder, dataset, epochs=rounds + 1)
    trial = open_trial(config, dataset, store=Store.open(folder / "trial"))
    bench: Any = trial.bench  # type: ignore[attr-defined]
    encoded = bench.inputs.batch(bench.encoded("train"), torch.arange(dataset.num_rows("train")))
    targets = torch.from_numpy(dataset.targets("train"))
    expert = Expert(_network(model), encoded, targets, device, model)
    plain = Plain(_network(model), encoded, targets, device, model)
    flops = _flops_of_a_row(model, encoded, device)
    seconds: dict[str, list[float]] = {"autoft": [], "expert": [], "plain": []}
    spent: list[Json] = []
    for one in range(rounds + 1):
        result = trial.run_epoch()
        took = {
            "autoft": training_seconds(result.timings),
            "expert": _timed(expert.epoch, device),
            "plain": _timed(plain.epoch, device),
        }
        if one:
            spent.append(result.timings)
            for name, value in took.items():
                seconds[name].append(value)
    num_rows = dataset.num_rows("train")
    rate = {name: num_rows / statistics.median(values) for name, values in seconds.items()}
    unit = model.size if model.kind == "text" else 1
    peak = next((value for name, value in PEAK_FLOPS.items() if name in _name_of(device).split()), None)
    whole = sum(sum(one.values()) for one in spent)
    return {
        "unit": "tokens per second" if model.kind == "text" else "images per second",
        "rates": {name: round(value * unit, 1) for name, value in rate.items()},
        "vs_expert": round(rate["autoft"] / rate["expert"], 3),
        "vs_plain": round(rate["autoft"] / rate["plain"], 3),
        "share_of_peak": None if peak is None else round(rate["autoft"] * flops / peak, 3),
        "gflops_of_a_row": round(flops / 1e9, 2),
        "other_share": round(sum(one["data"] + one["checkpoint"] + one["wait"] for one in spent) / whole, 4),
        "batch": model.batch,
        "execution": trial.config.execution,
    }


def _name_of(device: Any) -> str:
    import torch

    return str(torch.cuda.get_device_name()) if device.type == "cuda" else ""


def _timed(work: Callable[[], None], device: Any) -> float:
    import torch

    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _write_rows(model: Model, folder: Path, count: int) -> Path:
    """Prepare made-up rows, a few more for the other splits, and return the dataset's file."""
    import pandas as pd

    from autoft.core.configs import DataSpec
    from autoft.data import prepare

    draws = np.random.default_rng(0)
    total = {"train": count, "val": 2 * NUM_CLASSES, "test": 2 * NUM_CLASSES}
    tables = {}
    for split, number in total.items():
        if model.kind == "text":
            column, contents = "text", [" ".join(draws.choice(WORDS, model.size)) for _ in range(number)]
        else:
            column, contents = "image", []
            for place in range(number):
                path = folder / f"{split}-{place}.png"
                Image.fromarray(draws.integers(0, 256, (model.size, model.size, 3), dtype=np.uint8)).save(path)
                contents.append(str(path))
        labels = [f"class {place % NUM_CLASSES}" for place in range(number)]
        tables[split] = pd.DataFrame({column: contents, "label": labels})
    spec = DataSpec(source=None, target="label", seed=0)
    return prepare(tables["train"], spec, val=tables["val"], test=tables["test"], out=folder).path


def _config(model: Model, folder: Path, dataset: Any, *, epochs: int) -> Any:
    from autoft.core.configs import TrialConfig
    from autoft.core.recipe import complete

    if model.kind == "text":
        _write_encoder(model, folder / "encoder")
        backbone: Json = {"name": f"hf:{folder / 'encoder'}", "max_length": model.size}
    else:
        backbone = {"name": f"timm:{model.name}", "weights": "none", "input_size": model.size}
    task = f"{model.kind}-classification"
    sections = {
        "backbone": backbone,
        "augmentation": {"name": "flip" if model.kind == "image" else "none"},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.0},
        "batch_size": model.batch,
    }
    return TrialConfig(
        task=task,
        data={"fingerprint": dataset.fingerprint},
        recipe=complete(sections, task=task),
        epochs=epochs,
        metrics=("accuracy",),
        seed=0,
    )


def _bert_config(model: Model) -> Any:
    from transformers import BertConfig

    if model.name == "bert-base":
        return BertConfig()
    return BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)


def _write_encoder(model: Model, folder: Path) -> None:
    """Write a BERT of random weights, and a tokenizer that knows the words of the rows."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertModel

    BertModel(_bert_config(model)).save_pretrained(folder)
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _network(model: Model) -> Any:
    """Return the library's own classifier, with random weights."""
    import timm
    from transformers import BertForSequenceClassification

    if model.kind == "text":
        config = _bert_config(model)
        config.num_labels = NUM_CLASSES
        return BertForSequenceClassification(config)
    return timm.create_model(model.name, num_classes=NUM_CLASSES)


def _logits(network: Any, inputs: Sequence[Any]) -> Any:
    outputs = network(*inputs)
    return getattr(outputs, "logits", outputs)


def _flops_of_a_row(model: Model, encoded: Sequence[Any], device: Any) -> float:
    """Return the operations of one row's forward and backward pass, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    network = _network(model).to(device)
    inputs = [part[:2].to(device) for part in encoded]
    if model.kind == "image":
        inputs = [inputs[0].float()]
    with FlopCounterMode(display=False) as counter:
        _logits(network, inputs).float().sum().backward()
    return float(counter.get_total_flops()) / 2


class Expert:
    """The loop of someone who knows every trick."""

    def __init__(self, network: Any, encoded: Sequence[Any], targets: Any, device: Any, model: Model) -> None:
        import torch

        self._torch, self._device, self._model = torch, device, model
        self.network = network.to(device)
        if model.kind == "image":
            self.network = self.network.to(memory_format=torch.channels_last)
        self._rows = [self._pinned(part) for part in (*encoded, targets)]
        self._parameters = list(self.network.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=1e-4, fused=True)

    def _pinned(self, part: Any) -> Any:
        return part.pin_memory() if self._device.type == "cuda" else part

    def _sent(self) -> Iterator[Any]:
        """Yield the batches on the device, each sent before the one before it is used."""
        torch = self._torch
        order = torch.randperm(len(self._rows[-1])).split(self._model.batch)
        sent: Iterator[Any] = (
            [self._pinned(part[places]).to(self._device, non_blocking=True) for part in self._rows] for places in order
        )
        ahead = next(sent)
        for batch in itertools.chain(sent, [None]):
            yield ahead
            ahead = batch

    def epoch(self) -> None:
        """Train one epoch."""
        torch = self._torch
        self.network.train()
        total = torch.zeros((), device=self._device)
        for *inputs, targets in self._sent():
            finished = [self._finished(inputs[0])] if self._model.kind == "image" else inputs
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
                logits = _logits(self.network, finished)
            loss = torch.nn.functional.cross_entropy(logits.float(), targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._parameters, 1.0, foreach=True)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
        total.item()

    def _finished(self, images: Any) -> Any:
        """Return pictures, some mirrored, normalised."""
        torch = self._torch
        mirrored = (torch.rand(len(images), device=self._device) < 0.5).view(-1, 1, 1, 1)
        images = torch.where(mirrored, images.flip(-1), images)
        return images.float().mul_(1 / 127.5).sub_(1).contiguous(memory_format=torch.channels_last)


class Plain:
    """Training as the libraries' documentation shows it."""

    def __init__(self, network: Any, encoded: Sequence[Any], targets: Any, device: Any, model: Model) -> None:
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        self._device, self._model = device, model
        self.network = network.to(device)
        rows = TensorDataset(*encoded, targets)
        workers = min(8, len(os.sched_getaffinity(0))) if device.type == "cuda" else 0
        self._loader = DataLoader(rows, batch_size=model.batch, shuffle=True, num_workers=workers)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
        self._criterion = torch.nn.CrossEntropyLoss()

    def epoch(self) -> None:
        """Train one epoch."""
        self.network.train()
        losses = []
        for batch in self._loader:
            *inputs, targets = [part.to(self._device) for part in batch]
            if self._model.kind == "image":
                inputs = [inputs[0].float() / 127.5 - 1]
            loss = self._criterion(_logits(self.network, inputs), targets)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(loss.item())
