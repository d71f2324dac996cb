"""One epoch of updates: from rows to a step of the optimizer."""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from autoft.backbones.checkpointing import checkpoint_gradients
from autoft.backbones.layers import batch_norms
from autoft.core.errors import ConfigError, first_line
from autoft.core.seeds import derive_seed
from autoft.optim import SAM, build_optimizer, build_schedule, peak_lr, set_learning_rate
from autoft.tasks.losses import as_probabilities
from autoft.training.averaging import Average, build_averaging
from autoft.training.batches import Batches, Loaded, Prepared
from autoft.training.compiling import Forward, compile_passes
from autoft.training.execution import with_noted_memory
from autoft.training.finetune import Plan, set_train_mode
from autoft.training.group import RanOutElsewhereError
from autoft.training.kept import keep_states
from autoft.training.lookout import Lookout
from autoft.training.memory import (
    Rewinder,
    free_memory,
    has_learning_statistics,
    is_out_of_memory,
    take_less,
)
from autoft.training.norms import computed_anew, kept_statistics, refuses_single_rows
from autoft.training.regularization import Embed, build_regularization, embedded
from autoft.training.timing import Stopwatch
from autoft.training.workbench import Workbench

CHECK_EVERY = 16
"""Updates between looks at the loss."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The rows of an update."""

    num_rows: int
    weight: float | Tensor
    """What they weigh together in the mean of the loss."""


class Updates:
    """Everything between the rows of an epoch and the weights after it.

    All randomness of epoch e comes from the seed and e; what a group's processes drop, each in its own rows, also from
    the process.
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
        self._fewest = self._fewest_rows(min(wanted, num_rows // parts) * parts)
        self.num_updates = min(wanted, num_rows // (parts * self._fewest))
        """Of an epoch."""
        num_steps = self.num_updates * self._epochs
        self.schedule = build_schedule(recipe["schedule"], num_steps=num_steps)
        self.average = build_averaging(recipe["averaging"], bench.network, num_steps)
        self._parameters = [parameter for group in plan.groups for parameter in group.parameters]
        self._watch = Stopwatch(bench.execution.torch_device)
        self._num_classes = len(bench.dataset.labels)
        counts = np.bincount(bench.dataset.targets("train"), minlength=self._num_classes)
        device = bench.execution.torch_device
        self._loss = bench.task.build_loss(recipe, counts.tolist(), device=device)
        self._class_weights = bench.task.weights_of_mean(recipe, counts.tolist(), device=device)
        self._regularization = build_regularization(recipe["regularization"])
        self.batches = Batches(bench, num_updates=self.num_updates, fewest=self._fewest, is_frozen=self.is_frozen)
        self._forward: Forward = bench.network

    def _fewest_rows(self, num_updates: int) -> int:
        """Return the rows of a batch, at least: 2 where norms cannot do with one, and there would be such a batch.

        Args:
            num_updates: Of a pass over the rows, if one row is enough.

        Raises:
            ConfigError: If no way of dealing the rows avoids it.
        """
        num_rows, parts = self.bench.dataset.num_rows("train"), self.bench.config.epochs_per_pass
        batch_size = self._recipe["batch_size"]
        updates = {num_rows // num_updates, math.ceil(num_rows / num_updates)}
        if min(rows // math.ceil(rows / batch_size) for rows in updates) > 1:
            return 1
        if not refuses_single_rows(self.bench, self.plan):
            return 1
        if batch_size > 1 and num_rows >= 2 * parts:
            return 2
        cause, way = "batch_size 1", "a batch_size of 2 or more"
        if batch_size > 1:
            cause, way = f"epochs_per_pass {parts} with {num_rows} training rows", "fewer epochs to a pass"
        raise ConfigError(
            f"{cause} leaves the batch norms of {self._recipe['backbone']['name']} a single value a channel, which has "
            f"no variance. Take {way}, larger inputs, or a backbone without batch norms."
        )

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
        place = () if bench.group.is_first else (bench.group.rank,)
        torch.manual_seed(derive_seed(seed, "epoch", epoch, *place))
        draws = torch.Generator().manual_seed(derive_seed(seed, "augmentation", epoch))
        if self.plan.start_epoch is not None:
            self.plan.start_epoch(epoch)
        part = bench.network.head if self.batches.are_features else bench.network
        set_train_mode(part, kept_norms=self.plan.kept_norms)
        self._watch, lookout = watch, Lookout(bench.execution.torch_device)
        rewinder = Rewinder(part, draws)
        total, num_rows = torch.zeros((), device=bench.execution.torch_device), 0
        rate, first, largest = 0.0, (epoch - 1) * self.num_updates, peak_lr(self._recipe["optimizer"])
        for step, batches in enumerate(self.batches.loads(epoch), start=first):
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
        if not bench.group.is_alone:
            self._share_statistics()
        return loss, rate

    def _share_statistics(self) -> None:
        """Let the running statistics of batch norms, which each process has of its own rows, be their mean."""
        average = None if self.average is None else self.average.module
        for network in (self.bench.network, average):
            learning = [name for name, norm in batch_norms(self.bench.network).items() if norm.training]
            norms = {} if network is None else batch_norms(network)
            buffers = [buffer for name in learning if network is not None for buffer in norms[name].buffers()]
            self.bench.group.average(buffer for buffer in buffers if buffer.is_floating_point())

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
                # What only one of a group knows, the others cannot do again.
                is_known = self.bench.group.is_alone or isinstance(error, RanOutElsewhereError)
                if not (is_known and is_out_of_memory(error)):
                    raise
                self._take_less(step, max(map(len, batches)), first_line(error).rstrip("."))
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
        num_rows = sum(map(len, batches))
        # Of three rows two pieces would be one of two and one of a single row.
        rows = max(self.bench.execution.micro_batch_of(step), 3 if self._fewest > 1 else 1)
        if self.batches.mix_embeddings:
            batches = [piece for batch in batches for piece in batch.cut(rows)]
        prepared: Iterable[Prepared] = (
            piece for batch in batches for piece in self.batches.prepare(batch, draws, epoch).cut(rows)
        )
        if isinstance(self.optimizer, SAM) or self._class_weights is not None:
            prepared = list(prepared)
        weight = float(num_rows) if self._class_weights is None else sum(map(self._weight, prepared))
        whole = Whole(num_rows, weight)
        loss = self._backward(prepared, whole) * num_rows
        if isinstance(self.optimizer, SAM):
            with self.optimizer.perturbed(), kept_statistics(self.bench.network):
                self._backward(prepared, whole)
        if self.plan.penalise is not None:
            self.plan.penalise()
        self._clip()
        return loss

    def set_up_passes(self, epoch: int) -> None:
        """Let the passes be as the configuration says; where it leaves that open, they are what pays.

        Frozen first layers are left out of them, or else they are compiled.

        Args:
            epoch: The last that is trained.

        Raises:
            ConfigError: If it asks for gradient checkpointing, and the backbone cannot do it.
        """
        bench = self.bench
        set_train_mode(bench.network, kept_norms=self.plan.kept_norms)
        if bench.policy.takes_less and not self.batches.are_features:
            noted = bench.group.first(with_noted_memory(bench.config, bench.execution).micro_batch)
            reason = "the machine ran low on memory, and this trial's worker was ended"
            self._take_less(epoch * self.num_updates, min(noted, self._recipe["batch_size"]), reason)
        # Before gradients are checkpointed: with that, encoders of Hugging Face let frozen embeddings have some.
        bench.kept = keep_states(bench, self.plan, is_still=self.batches.are_still)
        if bench.execution.gradient_checkpointing and not checkpoint_gradients(bench.backbone.module):
            raise ConfigError(
                f"{self._recipe['backbone']['name']} cannot do gradient checkpointing: leave out the option, or this "
                "backbone."
            )
        if bench.kept is not None:
            self._forward = bench.kept.without_frozen(bench.network)
            return
        self._forward = compile_passes(bench, self._rehearse, lambda: len(next(self.batches.deal(1))[0]))

    def _take_less(self, step: int, largest: int, reason: str) -> None:
        take_less(self.bench, step, largest, reason, mixes_embeddings=self.batches.mix_embeddings)

    def _rehearse(self, forward: Forward) -> None:
        """Do one pass of the first batch's rows by `forward`, and leave no trace."""
        draws = torch.Generator().manual_seed(0)
        set_train_mode(self.bench.network, kept_norms=self.plan.kept_norms)
        rewinder, before = Rewinder(self.bench.network, draws), self._forward
        self._forward = forward
        batch = self.batches.load(next(self.batches.deal(1)))[0]
        prepared = self.batches.prepare(batch, draws, 1).cut(self.bench.execution.micro_batch)[0]
        try:
            self._passes([prepared], Whole(len(prepared.targets), self._weight(prepared)))
        finally:
            self._forward = before
            self.optimizer.zero_grad(set_to_none=True)
            rewinder.rewind()

    def _backward(self, batches: Iterable[Prepared], whole: Whole) -> Tensor:
        """Add the gradients of the mean loss of all rows, and return that mean.

        In a group each process goes through its rows, and then all have the same gradients.

        Raises:
            RanOutElsewhereError: If memory ran out in any of a group.
        """
        bench = self.bench
        if bench.group.is_alone:
            return self._passes(batches, whole)
        ran_out = False
        try:
            mean = self._passes(self._mine(batches), whole)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            ran_out = True
        if ran_out:
            self.optimizer.zero_grad(set_to_none=True)
            free_memory()
            mean = torch.zeros((), device=bench.execution.torch_device)
        return bench.group.add_up(self._parameters, mean, ran_out=ran_out)

    def _mine(self, batches: Iterable[Prepared]) -> Iterable[Prepared]:
        """Yield this process's rows of each micro-batch that has any for it."""
        bench = self.bench
        # A norm has no statistics of a single row.
        fewest = 2 if has_learning_statistics(bench.network) else 1
        for batch in batches:
            rows = bench.group.share(len(batch.targets), fewest=fewest)
            if rows.stop > rows.start:
                yield batch.of_rows(rows, bench.backbone.embeddings)

    def _passes(self, batches: Iterable[Prepared], whole: Whole) -> Tensor:
        """Add the gradients of the mean loss of these rows of the whole, and return their part of it."""
        total = torch.zeros((), device=self.bench.execution.torch_device)
        computes_again = self.bench.execution.gradient_checkpointing
        for batch in batches:
            self._watch.mark("data")
            part = self._weight(batch) / whole.weight
            loss = self._loss_of(batch, len(batch.targets) / whole.num_rows / part) * part
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

    def _loss_of(self, batch: Prepared, scale: float | Tensor) -> Tensor:
        """Return the loss of a batch, in which plain means over its rows count `scale` times."""
        bench = self.bench

        def forward(embed: Embed | None) -> Tensor:
            if self.batches.are_features:
                logits: Tensor = bench.network.head(*batch.inputs)
                return logits
            with bench.execution.autocast(), embedded(bench.backbone.embeddings, batch.embed, embed):
                logits = self._forward(*batch.inputs)
            return logits.float()

        if self._regularization is None:
            return self._loss(forward(None), batch.targets)
        return self._regularization(forward, self._loss, batch.targets, scale)

    def _clip(self) -> None:
        if (largest := self._recipe["clip_value"]) is not None:
            nn.utils.clip_grad_value_(self._parameters, largest)
        if (norm := self._recipe["clip_norm"]) is not None:
            nn.utils.clip_grad_norm_(self._parameters, norm)
