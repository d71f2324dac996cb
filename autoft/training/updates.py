"""One epoch of updates: from rows to a step of the optimizer."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoft.augment import build_augmentation, build_mixing
from autoft.augment.policy import Batch
from autoft.backbones.checkpointing import checkpoint_gradients
from autoft.backbones.layers import batch_norms
from autoft.core.configs import TrialConfig
from autoft.core.errors import ConfigError, WorkError
from autoft.core.seeds import derive_seed, generator
from autoft.optim import SAM, build_optimizer, build_schedule, peak_lr, set_learning_rate
from autoft.tasks.losses import as_probabilities
from autoft.training.averaging import Average, build_averaging
from autoft.training.compiling import Forward, can_compile, compile_note, compile_training, pays, seconds_of
from autoft.training.execution import Execution, with_noted_memory
from autoft.training.finetune import Plan, set_train_mode
from autoft.training.measuring import noted_seconds
from autoft.training.memory import Rewinder, fewest_rows, free_memory, has_learning_statistics, is_out_of_memory, pieces
from autoft.training.norms import computed_anew, kept_statistics
from autoft.training.prefetch import ahead
from autoft.training.regularization import Embed, build_regularization
from autoft.training.resizing import build_resizing
from autoft.training.sampling import build_sampling
from autoft.training.timing import Stopwatch
from autoft.training.workbench import Workbench

CHECK_EVERY = 16
"""Updates between looks at the loss."""
Rows = np.ndarray[Any, np.dtype[np.int64]]
"""Places of rows within a split."""
POOL = 32
"""Updates over which rows of like length are brought together."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch of rows as they are kept, on the processor."""

    inputs: Batch
    """Encoded rows, or the features of a frozen backbone."""
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
    """Of the network, or of its head where the backbone's features are known."""
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


class Updates:
    """Everything between the rows of an epoch and the weights after it.

    All randomness of epoch e comes from the seed and e.
    """

    def __init__(self, bench: Workbench, plan: Plan) -> None:
        self.bench = bench
        self.plan = plan
        recipe = self._recipe = bench.config.recipe
        self._epochs = bench.config.epochs
        learning = {id(parameter) for group in plan.groups for parameter in group.parameters}
        self.is_frozen = not any(id(parameter) in learning for parameter in bench.network.backbone.parameters())
        """Whether no weight of the backbone learns in any epoch."""
        self.optimizer = build_optimizer(recipe["optimizer"], plan.groups)
        num_rows, parts = bench.dataset.num_rows("train"), bench.config.epochs_per_pass
        wanted = math.ceil(num_rows / (recipe["batch_size"] * recipe["accumulation"] * parts))
        self.num_updates = min(wanted, num_rows // parts)
        """Of an epoch."""
        num_steps = self.num_updates * self._epochs
        self.schedule = build_schedule(recipe["schedule"], num_steps=num_steps)
        self.average = build_averaging(recipe["averaging"], bench.network, num_steps)
        self._parameters = [parameter for group in plan.groups for parameter in group.parameters]
        self._watch = Stopwatch(bench.execution.torch_device)
        self._lengths: Rows | None = None
        self._num_classes = len(bench.dataset.labels)
        counts = np.bincount(bench.dataset.targets("train"), minlength=self._num_classes)
        device = bench.execution.torch_device
        self._loss = bench.task.build_loss(recipe, counts.tolist(), device=device)
        self._class_weights = bench.task.weights_of_mean(recipe, counts.tolist(), device=device)
        self._regularization = build_regularization(recipe["regularization"])
        self._sample = build_sampling(recipe["sampling"])
        self._augment = build_augmentation(recipe["augmentation"], bench.backbone.preprocessing)
        self._mix = build_mixing(recipe["mixing"])
        self._resizing = build_resizing(recipe["resizing"], bench.backbone.preprocessing.get("size", 0))
        changes_inputs = self._augment is not None or self._mix is not None or recipe["resizing"]["name"] != "fixed"
        self._uses_features = self.is_frozen and not changes_inputs
        self._mixes_embeddings = self._mix is not None and bench.task.input_kind == "text"
        self._forward: Forward = bench.network

    def run(
        self, epoch: int, watch: Stopwatch, *, after_update: Callable[[], None] | None = None
    ) -> tuple[float, float]:
        """Train one epoch, counted from 1.

        Args:
            epoch: Which.
            watch: Gets the marks of `data`, `forward_backward` and `optimizer`.
            after_update: Called after each.

        Returns:
            The mean training loss of its rows (not finite: the epoch stopped there), and the last learning rate.
        """
        bench, seed = self.bench, self.bench.config.seed
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        draws = torch.Generator().manual_seed(derive_seed(seed, "augmentation", epoch))
        if self.plan.start_epoch is not None:
            self.plan.start_epoch(epoch)
        set_train_mode(bench.network, kept_norms=self.plan.kept_norms)
        self._watch, lookout = watch, Lookout(bench.execution.torch_device)
        rewinder = Rewinder(bench.network, draws)
        total, num_rows = torch.zeros((), device=bench.execution.torch_device), 0
        rate, first, largest = 0.0, (epoch - 1) * self.num_updates, peak_lr(self._recipe["optimizer"])
        for step, batches in enumerate(self._loads(epoch), start=first):
            rate = largest * self.schedule.factor(step)
            set_learning_rate(self.optimizer, rate)
            total += self._update(batches, draws, epoch, step, rewinder)
            num_rows += sum(map(len, batches))
            if self.average is not None:
                self.average.update(bench.network, step)
            watch.mark("optimizer")
            if after_update is not None:
                after_update()
            if (step - first) % CHECK_EVERY == 0 and not lookout.is_finite(total):
                break
        loss = total.item() / num_rows
        watch.settle()
        if self.average is not None and self.average.fresh_statistics:
            self._compute_statistics(self.average)
        return loss, rate

    @torch.no_grad()
    def _compute_statistics(self, average: Average) -> None:
        """Compute the statistics of an average's batch norms anew, by a pass over the training rows as they are."""
        bench, module = self.bench, average.module
        learning = {name for name, norm in batch_norms(bench.network).items() if norm.training}
        if module is None or not learning:
            return
        module.eval()
        rows = torch.arange(bench.dataset.num_rows("train"))
        count = math.ceil(len(rows) / bench.execution.eval_batch)
        with computed_anew([norm for name, norm in batch_norms(module).items() if name in learning]):
            # Every count-th row: data are often sorted by class, and the variance between batches is not seen.
            for indices in (rows[start::count] for start in range(count)):
                batch = bench.inputs.batch(bench.encoded("train"), indices)
                with bench.execution.autocast():
                    layout = bench.execution.channels_last
                    module(*bench.inputs.finish(batch, bench.execution.torch_device, channels_last=layout))
                bench.heartbeat()

    def deal(self, epoch: int) -> Iterator[list[Rows]]:
        """Yield the rows of each update of an epoch in batches of nearly equal size, of `batch_size` at most.

        A pass over the rows is dealt whole; each of its epochs takes the next share of its updates.
        """
        bench, seed = self.bench, self.bench.config.seed
        parts = bench.config.epochs_per_pass
        number, part = divmod(epoch - 1, parts)
        if self._lengths is None:
            self._lengths = bench.inputs.lengths(bench.encoded("train")).numpy()
        sampled = self._sample(bench.dataset.targets("train"), generator(seed, "sampling", number + 1))
        dealt = deal(self._lengths[sampled], self.num_updates * parts, generator(seed, "order", number + 1))
        for places in dealt[part * self.num_updates : (part + 1) * self.num_updates]:
            yield np.array_split(sampled[places], math.ceil(len(places) / self._recipe["batch_size"]))

    def _loads(self, epoch: int) -> Iterator[list[Loaded]]:
        """Yield the batches of each update; on a GPU the next ones are loaded while it computes."""
        dealt = self.deal(epoch)
        return ahead(self._load, dealt) if self.bench.execution.device == "cuda" else map(self._load, dealt)

    def _load(self, batches: list[Rows]) -> list[Loaded]:
        bench, targets, loaded = self.bench, self.bench.targets("train"), []
        for rows in batches:
            indices = torch.from_numpy(rows)
            if self._uses_features:
                inputs: Batch = (bench.frozen_features("train")[indices],)
            else:
                inputs = bench.inputs.batch(bench.encoded("train"), indices)
            parts = (*inputs, targets[indices])
            if bench.execution.device == "cuda":
                parts = tuple(part.pin_memory() for part in parts)
            loaded.append(Loaded(parts[:-1], parts[-1]))
        return loaded

    def _update(
        self, batches: list[Loaded], draws: torch.Generator, epoch: int, step: int, rewinder: Rewinder
    ) -> Tensor:
        """Do one update, and return the sum of its rows' losses; where memory runs out, again with fewer at a time."""
        rewinder.mark()
        while True:
            try:
                loss = self._gradients(batches, draws, epoch, step)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._take_less(step, max(map(len, batches)), _first_line(error))
            # Behind the handler: until its end the error holds the tensors of the pass.
            self.optimizer.zero_grad(set_to_none=True)
            free_memory()
            rewinder.rewind()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _gradients(self, batches: list[Loaded], draws: torch.Generator, epoch: int, step: int) -> Tensor:
        """Give the weights the gradients to step by, and return the sum of the rows' losses.

        Chance is drawn for whole batches, whatever the micro-batch, so that it does not change the result; only where
        the embeddings of a batch are mixed, a micro-batch is a batch of its own.
        """
        num_rows, rows = sum(map(len, batches)), self.bench.execution.micro_batch_of(step)
        if self._mixes_embeddings:
            batches = [piece for batch in batches for piece in batch.cut(rows)]
        prepared: Iterable[Prepared] = (
            piece for batch in batches for piece in self._prepare(batch, draws, epoch).cut(rows)
        )
        if isinstance(self.optimizer, SAM) or self._class_weights is not None:
            prepared = list(prepared)
        whole = float(num_rows) if self._class_weights is None else sum(map(self._weight, prepared))
        loss = self._backward(prepared, whole) * num_rows
        if isinstance(self.optimizer, SAM):
            with self.optimizer.perturbed(), kept_statistics(self.bench.network):
                self._backward(prepared, whole)
        if self.plan.penalise is not None:
            self.plan.penalise()
        self._clip()
        return loss

    def _take_less(self, step: int, largest: int, reason: str) -> None:
        """Go on with half the rows at a time, or at last with gradient checkpointing, and let the configuration say so.

        Args:
            step: The update that is to be done with them.
            largest: Rows of the largest batch.
            reason: How it is known that memory ran out.

        Raises:
            WorkError: If that is done already.
        """
        bench, execution = self.bench, self.bench.execution
        before = execution.micro_batch_of(step)
        rows, fewest = min(before, largest), fewest_rows(bench.network)
        if rows > fewest:
            ends = {**execution.ran_out, str(before): step}
            ran_out = {size: min(end, step) for size, end in ends.items() if min(end, step) > 0}
            bench.revise(micro_batch=min(max(rows // 2, fewest), execution.micro_batch), ran_out=ran_out)
            differs = has_learning_statistics(bench.network) or self._mixes_embeddings
            _log.warning(
                "Memory ran out at %d rows in update %d: from here on %d go through at a time, and their gradients "
                "are added up to the same update. %s",
                rows,
                step,
                bench.execution.micro_batch,
                "What is computed over a batch (batch norms, mixed embeddings) is now over fewer rows, so the result "
                "differs from that of whole batches."
                if differs
                else "The result stays the same but for rounding.",
            )
        elif self._can_checkpoint(execution):
            bench.revise(gradient_checkpointing=True)
            _log.warning("Memory ran out at %d rows: activations are computed again from here on, and not kept.", rows)
        else:
            raise WorkError(
                f"Memory ran out in an update of {rows} rows at a time ({reason}). Take a smaller backbone "
                "or input size, fewer trials side by side (--concurrent), or a machine with more memory."
            )
        bench.note_memory("micro_batch", "gradient_checkpointing")

    def _can_checkpoint(self, execution: Execution) -> bool:
        is_new = not execution.gradient_checkpointing and not execution.compile
        return is_new and checkpoint_gradients(self.bench.backbone.module)

    def set_up_passes(self, epoch: int) -> None:
        """Let the passes be as the configuration says; where it leaves that open, they are compiled if it pays.

        Args:
            epoch: The last that is trained.

        Raises:
            ConfigError: If it asks for gradient checkpointing, and the backbone cannot do it.
        """
        bench = self.bench
        set_train_mode(bench.network, kept_norms=self.plan.kept_norms)
        if bench.policy.takes_less and not self._uses_features:
            noted = with_noted_memory(bench.config, bench.execution).micro_batch
            reason = "the machine ran low on memory, and this trial's worker was ended"
            self._take_less(epoch * self.num_updates, min(noted, self._recipe["batch_size"]), reason)
        config, execution = bench.config, bench.execution
        if execution.gradient_checkpointing and not checkpoint_gradients(bench.backbone.module):
            raise ConfigError(
                f"{self._recipe['backbone']['name']} cannot do gradient checkpointing: leave out the option, or this "
                "backbone."
            )
        if bench.chooses:
            if not self._compiling_pays(config, execution):
                return
        elif not execution.compile:
            return
        forward = compile_training(bench.network, self._rehearse, config, execution, measures=bench.chooses)
        bench.revise(compile=forward is not None)
        self._forward = forward or bench.network

    def _compiling_pays(self, config: TrialConfig, execution: Execution) -> bool:
        bench, seconds = self.bench, noted_seconds(config, execution)
        if seconds is None or not can_compile(config, execution, input_kind=bench.task.input_kind):
            return False
        note = compile_note(config, execution)
        num_rows = bench.dataset.num_rows("train") * config.epochs / config.epochs_per_pass
        if not pays(seconds * num_rows, bench.policy, note):
            return False
        # What is noted may be of single rows, of which each takes longer than in a batch.
        rows = min(execution.micro_batch, len(next(self.deal(1))[0]))
        try:
            seconds = seconds_of(self._rehearse, bench.network) / rows
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return False  # The first update knows what to do.
            raise
        return pays(seconds * num_rows, bench.policy, note)

    def _rehearse(self, forward: Forward) -> None:
        """Do one pass of the first batch's rows by `forward`, and leave no trace."""
        draws = torch.Generator().manual_seed(0)
        set_train_mode(self.bench.network, kept_norms=self.plan.kept_norms)
        rewinder, before = Rewinder(self.bench.network, draws), self._forward
        self._forward = forward
        batch = self._load(next(self.deal(1)))[0]
        prepared = self._prepare(batch, draws, 1).cut(self.bench.execution.micro_batch)[0]
        try:
            self._backward([prepared], self._weight(prepared))
        finally:
            self._forward = before
            self.optimizer.zero_grad(set_to_none=True)
            rewinder.rewind()

    def _prepare(self, loaded: Loaded, draws: torch.Generator, epoch: int) -> Prepared:
        bench, device = self.bench, self.bench.execution.torch_device
        targets = loaded.targets.to(device, non_blocking=True)
        batch = tuple(part.to(device, non_blocking=True) for part in loaded.inputs)
        if self._uses_features:
            return Prepared(batch, targets, None)
        side = self._resizing.side(epoch, self._epochs)
        if side:
            batch = (self._resizing.resize(batch[0], side),)
        if self._augment is not None:
            batch = self._augment(batch, draws)
        inputs = bench.inputs.finish(batch, device, channels_last=bench.execution.channels_last)
        if self._mix is None:
            return Prepared(inputs, targets, None)
        mixed = self._mix(inputs, nn.functional.one_hot(targets, self._num_classes).float(), draws)
        return Prepared(mixed.inputs, mixed.targets_BC, mixed.embed)

    def _backward(self, batches: Iterable[Prepared], whole: float | Tensor) -> Tensor:
        """Add the gradients of the mean loss of all rows, which weigh `whole` together, and return that mean."""
        total = torch.zeros((), device=self.bench.execution.torch_device)
        computes_again = self.bench.execution.gradient_checkpointing
        for batch in batches:
            self._watch.mark("data")
            loss = self._loss_of(batch) * (self._weight(batch) / whole)
            # Batch norms see what is computed again a second time.
            with kept_statistics(self.bench.network) if computes_again else nullcontext():
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            self._watch.mark("forward_backward")
            self.bench.heartbeat()
        return total

    def _weight(self, batch: Prepared) -> float | Tensor:
        """Return what a batch weighs in the mean of its update: its rows, or the weights of their classes."""
        if self._class_weights is None:
            return float(len(batch.targets))
        return (as_probabilities(batch.targets, self._num_classes) @ self._class_weights).sum()

    def _loss_of(self, batch: Prepared) -> Tensor:
        bench = self.bench

        def forward(embed: Embed | None) -> Tensor:
            if self._uses_features:
                logits: Tensor = bench.network.head(*batch.inputs)
                return logits
            with bench.execution.autocast(), embedded(bench.backbone.embeddings, batch.embed, embed):
                logits = self._forward(*batch.inputs)
            return logits.float()

        if self._regularization is None:
            return self._loss(forward(None), batch.targets)
        return self._regularization(forward, self._loss, batch.targets)

    def _clip(self) -> None:
        if (largest := self._recipe["clip_value"]) is not None:
            nn.utils.clip_grad_value_(self._parameters, largest)
        if (norm := self._recipe["clip_norm"]) is not None:
            nn.utils.clip_grad_norm_(self._parameters, norm)


class Lookout:
    """Looks whether a sum on a device is finite, without making a GPU wait: there each look sees the sum of the last.

    A sum that is not finite stays so.
    """

    def __init__(self, device: torch.device) -> None:
        self._seen: tuple[Tensor, torch.cuda.Event] | None = None
        self._is_far = device.type == "cuda"

    def is_finite(self, total: Tensor) -> bool:
        """Return whether the sum, or on a GPU that of the last look, is finite."""
        if not self._is_far:
            return math.isfinite(total.item())
        before, copied = self._seen, torch.cuda.Event()  # type: ignore[no-untyped-call]
        seen = torch.empty((), dtype=total.dtype, pin_memory=True).copy_(total, non_blocking=True)
        copied.record()
        self._seen = seen, copied
        if before is None:
            return True
        before[1].synchronize()
        return math.isfinite(before[0].item())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


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


@contextmanager
def embedded(embeddings: nn.Module | None, *changes: Embed | None) -> Iterator[None]:
    """Pass what `embeddings` gives, (B, L, E), through `changes`, the first one first.

    Raises:
        ConfigError: If there are changes and no embeddings.
    """
    active = [change for change in changes if change is not None]
    if not active:
        yield
        return
    if embeddings is None:
        raise ConfigError("This backbone has no word embeddings, which mixing or regularization would change.")

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        for change in active:
            output = change(output)
        return output

    handle = embeddings.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
