"""The loops that `benchmarks.trial_speed` puts beside each other: a tutorial's, an expert's, and a trial of autoft.

All train the same backbone from the same weights, rows, batch size, loss, optimizer and rate. The expert knows
every trick: rows prepared once, texts in buckets of like length, channels_last, bfloat16 where it is told so, a fused
optimizer, no look at the loss within the epoch, freed memory kept.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from autoft.core.configs import ExecutionPolicy
from autoft.core.freed import keep_freed_memory
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import decode_picture
from autoft.training.loop import Trial
from autoft.training.worker import open_trial
from benchmarks.trial_naive import NaiveImage, NaiveText, lite0, schedule, weights_path
from benchmarks.trial_sets import BATCH_SIZES, CLIP_NORM, DECAYS, IMAGE_SIZE, MAX_TOKENS, RATES, SMOOTHING, Task

POOL = 32
"""Batches over which an expert brings texts of like length together."""


class Side(Protocol):
    """A loop."""

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        ...


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
        keep_freed_memory()
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
        self.model = lite0(len(task.labels)).to(memory_format=torch.channels_last)
        super().__init__(task, **settings)
        pictures = [decode_picture(Path(path).read_bytes(), IMAGE_SIZE) for path, _ in task.rows["train"]]
        self._pictures = torch.from_numpy(np.stack(pictures)).contiguous(memory_format=torch.channels_last)

    def batches(self) -> Iterator[Tensor]:
        """Yield the rows of each batch."""
        yield from torch.split(torch.from_numpy(self._draws.permutation(len(self._pictures))), BATCH_SIZES["image"])

    def inputs(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the pictures, some mirrored, normalised."""
        images = self._pictures[rows]
        mirrored = torch.rand(len(rows)) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        return (images.to(torch.float32, memory_format=torch.channels_last).mul_(1 / 127.5).sub_(1),)


class Autoft:
    """A trial of autoft, opened as its workers do.

    `execution` replaces what it would choose of it, by rules or by what it `measures`, and `sections` those of the
    space. Its epochs validate and save beside
    the training, whose seconds `spent` says.
    """

    def __init__(
        self,
        task: Task,
        *,
        epochs: int,
        execution: Json | None = None,
        measures: bool = False,
        seed: int = 0,
        sections: Json | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="autoft-speed-")
        store = Store.open(self._folder.name)
        config = task.config(epochs=epochs, seed=seed, **(sections or {}))
        if execution is not None:
            policy = ExecutionPolicy(measures=measures)
            chosen = open_trial(config, task.dataset, store=store, policy=policy).config.execution
            config = config.replace(execution=chosen | {k: v for k, v in execution.items() if k in chosen})
        self._trial = cast(Trial, open_trial(config, task.dataset, store=store))
        self._num_rows = task.dataset.num_rows("train")
        self.spent = (0.0, 0.0)
        """Seconds of the processor, and of the clock, that the last epoch trained."""
        self._run = self._trial._updates.run
        self._trial._updates.run = self._timed  # type: ignore[method-assign]

    @property
    def execution(self) -> Json:
        """How the trial computes."""
        execution: Json = self._trial.config.execution
        return execution

    def epoch(self) -> int:
        """Train one epoch, and return its rows."""
        self._trial.run_epoch()
        return self._num_rows

    def _timed(self, *given: Any, **named: Any) -> Any:
        cpu, wall = time.process_time(), time.perf_counter()
        found = self._run(*given, **named)
        self.spent = (time.process_time() - cpu, time.perf_counter() - wall)
        return found

    def accuracy(self) -> float:
        """Return the share of the test rows that are told right."""
        right = self._trial.bench.probabilities("test").argmax(1) == self._trial.bench.dataset.targets("test")
        return float(right.mean())


def training_seconds(timings: Json) -> float:
    """Return the seconds of an epoch that were training."""
    return float(timings["data"] + timings["forward_backward"] + timings["optimizer"])


SIDES: dict[tuple[str, str], Any] = {
    ("naive", "text"): NaiveText,
    ("naive", "image"): NaiveImage,
    ("expert", "text"): ExpertText,
    ("expert", "image"): ExpertImage,
    ("autoft", "text"): Autoft,
    ("autoft", "image"): Autoft,
}
"""Every loop, by name and kind of input."""
