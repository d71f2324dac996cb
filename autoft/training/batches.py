"""The rows of an epoch on their way to the network: dealt to updates, loaded, and changed by all that chance does."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoft.augment import build_augmentation, build_mixing
from autoft.augment.mixing import EmbeddingMix
from autoft.augment.policy import Batch
from autoft.core.seeds import generator
from autoft.training.memory import pieces
from autoft.training.prefetch import ahead
from autoft.training.regularization import Embed
from autoft.training.resizing import resizing_of
from autoft.training.sampling import build_sampling
from autoft.training.workbench import Workbench

Rows = np.ndarray[Any, np.dtype[np.int64]]
"""Places of rows within a split."""
POOL = 32
"""Updates over which rows of like length are brought together."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch of rows as they are kept, on the processor."""

    inputs: Batch
    """Encoded rows, behind them what frozen layers give if that is known; or the features of a frozen backbone."""
    targets: Tensor
    """int64 (B,)."""

    def __len__(self) -> int:
        return len(self.targets)

    def cut(self, rows: int) -> list["Loaded"]:
        """Return it in batches of so many rows at most."""
        return [Loaded(tuple(inputs), targets) for *inputs, targets in pieces((*self.inputs, self.targets), rows)]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A micro-batch on the device, after all that chance does to it."""

    inputs: Batch
    """Of the network, behind them what its frozen layers give if that is known; of its head where it gets features."""
    targets: Tensor
    """int64 (B,), or probabilities (B, C) where labels were mixed."""
    embed: Embed | None
    """What happens to the embeddings of texts."""

    def cut(self, rows: int) -> list["Prepared"]:
        """Return it in micro-batches of so many rows at most; where embeddings of whole batches are mixed, as it is."""
        if len(self.targets) <= rows or self.embed is not None:
            return [self]
        parts = pieces((*self.inputs, self.targets), rows)
        return [Prepared(tuple(inputs), targets, None) for *inputs, targets in parts]

    def of_rows(self, rows: slice, embeddings: nn.Module | None) -> "Prepared":
        """Return the micro-batch of some of its rows; what they were mixed with stays.

        Args:
            rows: Of this one.
            embeddings: The backbone's, of texts.
        """
        embed = self.embed
        if isinstance(embed, EmbeddingMix) and embeddings is not None:
            # By `forward` itself, which calls no hooks: in one of these the embeddings are mixed.
            embed = embed.of_rows(rows, self.inputs[0], embeddings.forward)
        return Prepared(tuple(part[rows] for part in self.inputs), self.targets[rows], embed)


class Batches:
    """The batches of every epoch, whose chance comes from the seed and the epoch alone.

    Args:
        bench: The trial's.
        num_updates: Of an epoch.
        fewest: Rows of a batch, at least; so that none has fewer, some may have one more than `batch_size`.
        is_frozen: Whether no weight of the backbone learns in any epoch.
    """

    def __init__(self, bench: Workbench, *, num_updates: int, fewest: int, is_frozen: bool) -> None:
        recipe = self._recipe = bench.config.recipe
        self._bench = bench
        self._num_updates = num_updates
        self._fewest = fewest
        self._lengths: Rows | None = None
        self._sample = build_sampling(recipe["sampling"])
        self._augment = build_augmentation(recipe["augmentation"], bench.backbone.preprocessing)
        self._mix = build_mixing(recipe["mixing"])
        self._resizing = resizing_of(recipe, bench.backbone.preprocessing.get("size", 0))
        changes_inputs = self._augment is not None or self._mix is not None or recipe["resizing"]["name"] != "fixed"
        self.are_features = is_frozen and not changes_inputs
        """Whether they are the features of a frozen backbone, and not what it takes."""
        self.are_still = not (is_frozen or changes_inputs or recipe["regularization"]["name"] == "fgm")
        """Whether a row enters the network in every pass as it is."""
        self.mix_embeddings = self._mix is not None and bench.task.input_kind == "text"
        """Whether the embeddings of a batch's rows are mixed."""

    def deal(self, epoch: int) -> Iterator[list[Rows]]:
        """Yield the rows of each update of an epoch in batches of nearly equal size, of `batch_size` at most.

        A pass over the rows is dealt whole; each of its epochs takes the next share of its updates.
        """
        bench, seed = self._bench, self._bench.config.seed
        parts = bench.config.epochs_per_pass
        number, part = divmod(epoch - 1, parts)
        if self._lengths is None:
            self._lengths = bench.inputs.lengths(bench.encoded("train")).numpy()
        sampled = self._sample(bench.dataset.targets("train"), generator(seed, "sampling", number + 1))
        dealt = deal(self._lengths[sampled], self._num_updates * parts, generator(seed, "order", number + 1))
        for places in dealt[part * self._num_updates : (part + 1) * self._num_updates]:
            count = math.ceil(len(places) / self._recipe["batch_size"])
            yield np.array_split(sampled[places], min(count, max(1, len(places) // self._fewest)))

    def loads(self, epoch: int) -> Iterator[list[Loaded]]:
        """Yield the batches of each update; on a GPU the next ones are loaded while it computes."""
        dealt = self.deal(epoch)
        return ahead(self.load, dealt) if self._bench.execution.device == "cuda" else map(self.load, dealt)

    def load(self, batches: list[Rows]) -> list[Loaded]:
        """Return an update's batches as they are kept."""
        bench, targets, loaded = self._bench, self._bench.targets("train"), []
        for rows in batches:
            indices = torch.from_numpy(rows)
            if self.are_features:
                inputs: Batch = (bench.frozen_features("train")[indices],)
            else:
                inputs = bench.inputs.batch(bench.encoded("train"), indices)
            if bench.kept is not None:
                inputs = (*inputs, bench.kept.states["train"].batch(indices))
            parts = (*inputs, targets[indices])
            if bench.execution.device == "cuda":
                parts = tuple(part.pin_memory() for part in parts)
            loaded.append(Loaded(parts[:-1], parts[-1]))
        return loaded

    def prepare(self, loaded: Loaded, draws: torch.Generator, epoch: int) -> Prepared:
        """Return a batch of an epoch on the device, changed by chance from `draws`."""
        bench, device = self._bench, self._bench.execution.torch_device
        targets = loaded.targets.to(device, non_blocking=True)
        batch = tuple(part.to(device, non_blocking=True) for part in loaded.inputs)
        if self.are_features:
            return Prepared(batch, targets, None)
        ends = len(batch) - (bench.kept is not None)
        batch, states = batch[:ends], batch[ends:]
        side = self._resizing.side(epoch, bench.config.epochs)
        if side:
            batch = (self._resizing.resize(batch[0], side),)
        if self._augment is not None:
            batch = self._augment(batch, draws)
        inputs = (*bench.inputs.finish(batch, device, channels_last=bench.execution.channels_last), *states)
        if self._mix is None:
            return Prepared(inputs, targets, None)
        mixed = self._mix(inputs, nn.functional.one_hot(targets, len(bench.dataset.labels)).float(), draws)
        return Prepared(mixed.inputs, mixed.targets_BC, mixed.embed)


def deal(lengths: Rows, num_updates: int, draws: np.random.Generator) -> list[Rows]:
    """Return the rows of each update: every row once, sizes that differ by one at most, like lengths together.

    The rows are shuffled; within every `POOL` updates they are sorted by length, so that little is padded; then the
    updates are shuffled.

    Args:
        lengths: What a row costs within a batch that is padded to its longest, (N,).
        num_updates: How many updates.
        draws: The only source of chance.
    """
    dealt: list[Rows] = []
    updates = np.array_split(draws.permutation(len(lengths)), num_updates)
    for start in range(0, num_updates, POOL):
        pool = updates[start : start + POOL]
        rows = np.concatenate(pool)
        ends = np.cumsum([len(update) for update in pool])[:-1]
        dealt += np.split(rows[np.argsort(lengths[rows], kind="stable")], ends)
    return [dealt[place] for place in draws.permutation(num_updates)]
