"""The training loop of one trial."""

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from autoft.core.configs import EpochResult, EpochStatus, TrialConfig
from autoft.core.errors import WorkError
from autoft.core.jsonable import Json, digest, finite_or_none
from autoft.core.storage import Store
from autoft.optim import ParamGroup, load_optimizer_state, optimizer_state
from autoft.training.checkpoint import WEIGHTS, Checkpoints, Drafts
from autoft.training.finetune import plan
from autoft.training.profiling import Keep, traced
from autoft.training.timing import Stopwatch
from autoft.training.updates import Updates
from autoft.training.workbench import Workbench

_log = logging.getLogger(__name__)
FOUND = ("micro_batch", "eval_batch", "gradient_checkpointing", "ran_out", "compile", "frozen_once")
"""Of an `execution` block, what a trial may still find out while it trains."""


class Trial:
    """A trial that trains epoch by epoch, and goes on from its own last checkpoint.

    All randomness of epoch e comes from the seed and e, so a trial that was interrupted between epochs gives the
    same weights as one that was not. Of a group the first process alone measures, writes and reports; after each epoch
    the others have its weights.
    """

    def __init__(
        self, bench: Workbench, store: Store, *, opened: float, epochs_recorded: int = 0, trace: Keep | None = None
    ) -> None:
        """Build what the updates need, and resume.

        Args:
            bench: The configuration, brought to life.
            store: Folder of the trial's checkpoints.
            opened: When the worker began to open the trial, by `time.perf_counter`.
            epochs_recorded: Epochs of it that somebody has noted.
            trace: Gets a profiler's trace of the next epoch that is trained.
        """
        self._idle_since = opened
        self._trace = trace
        self.bench = bench
        self.epoch = 0
        self._checkpoints = Checkpoints(store)
        self._plan = plan(bench)
        self._updates = Updates(bench, self._plan)
        self._learning = _learning(bench.network, self._plan.groups, is_frozen=self._updates.is_frozen)
        self._best: Json = {"epoch": 0, "value": None, "config": _identity(self.config)}
        self._results: list[Json] = []
        self._unreported: deque[EpochResult] = deque()
        self._epochs_recorded = epochs_recorded
        self._best_until = 0
        """The epoch up to which the best weights that are there are no worse."""
        self._resume()
        if self.epoch == 0 and self._plan.begin is not None:
            self._plan.begin()
        self._align()
        self._updates.set_up_passes(self.epoch)

    @property
    def config(self) -> TrialConfig:
        """The filled configuration, with what the worker has found out so far."""
        return self.bench.config

    def run_epoch(self) -> EpochResult:
        """Train one epoch, validate, save, and say how it went.

        Epochs that were trained and saved before, but that nobody heard of, are told and not trained again; one that
        was heard of, but whose checkpoint is lost, is trained again and not told twice.
        """
        result = self._unreported.popleft() if self._unreported else self._next_epoch()
        while result.epoch <= self._epochs_recorded and result.status == "running":
            result = self._next_epoch()
        return result

    def _next_epoch(self) -> EpochResult:
        waited = time.perf_counter() - self._idle_since
        watch = Stopwatch(self.bench.execution.torch_device, waited=waited)
        self.epoch += 1
        with self._traced() as updated:
            loss, learning_rate = self._updates.run(self.epoch, watch, after_update=updated)
        self._align()
        with self._drafted() as drafts:
            result = self._judged(loss, learning_rate, watch, drafts)
        watch.lap("checkpoint")
        self._idle_since = time.perf_counter()
        return dataclasses.replace(result, seconds=watch.seconds, timings=watch.timings)

    def _judged(self, loss: float, learning_rate: float, watch: Stopwatch, drafts: Drafts | None) -> EpochResult:
        """Validate the epoch, publish its checkpoints, and return what came of it, but for the seconds."""
        logits = self._val_logits(self._kept) if math.isfinite(loss) else None
        metrics = self.bench.group.first(self._metrics(loss, logits) if self.bench.group.is_first else {})
        watch.lap("evaluate")
        value = metrics.get(self.bench.objective.column)
        if value is not None:
            self._updates.schedule.observe(value if self.bench.objective.maximize else -value)
        is_best = value is not None and (
            self._best["value"] is None or self.bench.objective.better(value, self._best["value"])
        )
        status, reason = self._status(metrics, is_best=is_best)
        if is_best:
            self._best |= {"epoch": self.epoch, "value": value}
        result = EpochResult(
            epoch=self.epoch,
            metrics=metrics,
            seconds=watch.seconds,
            status=status,
            is_best=is_best,
            reason=reason,
            timings=watch.timings,
            learning_rate=learning_rate,
            weights_sha256=None if drafts is None else drafts.weights_sha256,
            config=self.config.to_json(),
        )
        self._results.append(result.reported())
        if drafts is not None:
            best = {"epoch": self.epoch, "value": value, "config": self._best["config"]}
            self._checkpoints.publish(
                drafts,
                best=best if is_best and self.epoch >= self._best_until else None,
                last=self._about() if status == "running" else None,
            )
        return result

    def _metrics(self, loss: float, logits: Tensor | None) -> Json:
        quality = {} if logits is None else self.bench.quality(logits, "val")
        return {"train_loss": finite_or_none(loss), **quality, **self.bench.costs()}

    def _align(self) -> None:
        """Let a group's processes have the same weights, those of the first."""
        if self.bench.group.is_alone:
            return
        average = self._updates.average
        self.bench.group.align(self._state(self.bench.network).values())
        if average is not None and average.module is not None:
            self.bench.group.align(self._state(average.module).values())

    def _traced(self) -> AbstractContextManager[Callable[[], None] | None]:
        keep, self._trace = self._trace, None
        return nullcontext() if keep is None else traced(self._updates.num_updates, keep)

    @property
    def _kept(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights, if there is one yet."""
        average = self._updates.average
        return self.bench.network if average is None or average.module is None else average.module

    @torch.inference_mode()
    def _val_logits(self, kept: nn.Module) -> Tensor:
        if not self._updates.is_frozen:
            return self.bench.logits("val", kept)
        features = self.bench.frozen_features("val").to(self.bench.execution.torch_device)
        head = kept.get_submodule("head").eval()
        return head(features).float().cpu()  # type: ignore[no-any-return]

    def _status(self, metrics: Json, *, is_best: bool) -> tuple[EpochStatus, str]:
        if metrics["train_loss"] is None or metrics.get("val_loss") is None:
            return "diverged", f"The loss was not finite in epoch {self.epoch}."
        if self.epoch >= self.config.epochs:
            return "completed", f"All {self.config.epochs} epochs are trained."
        patience = self.config.recipe["patience"]
        since = 0 if is_best else self.epoch - self._best["epoch"]
        if patience is not None and since >= patience:
            return "early_stopped", f"No improvement in {since} epochs."
        return "running", ""

    def _drafted(self) -> AbstractContextManager[Drafts | None]:
        """Return the block in which an epoch's checkpoints are written; the first process of a group does so."""
        if not self.bench.group.is_first:
            return nullcontext()
        self.bench.costs()  # What a row takes is measured once, with nothing beside it.
        average = self._updates.average
        rest = {f"optimizer.{name}": tensor for name, tensor in optimizer_state(self._updates.optimizer)[0].items()}
        if average is not None:
            rest |= {f"average.{name}": tensor for name, tensor in average.state().items()}
        network = None if self._kept is self.bench.network else self._state(self.bench.network)
        goes_on = self.epoch < self.config.epochs
        return self._checkpoints.drafted(self._state(self._kept), rest if goes_on else None, network=network)

    def _about(self) -> Json:
        """Return what the next epoch needs to know, beside tensors."""
        return {
            "epoch": self.epoch,
            "best": self._best,
            "optimizer": optimizer_state(self._updates.optimizer)[1],
            "schedule": self._updates.schedule.state(),
            "results": self._results,
            "found": {name: getattr(self.bench.execution, name) for name in FOUND},
        }

    def _state(self, network: nn.Module) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in network.state_dict().items() if name in self._learning}

    def _begin_again(self) -> None:
        """Keep the best weights until they are trained again, if the state after epochs that are known is lost."""
        if not self._epochs_recorded:
            return
        _log.warning("The state to go on from is lost: %d epochs are trained again.", self._epochs_recorded)
        best = self._checkpoints.load("best")
        if best is not None and best.about.get("config") == self._best["config"]:
            self._best_until = best.about["epoch"]

    def _resume(self) -> None:
        """Go on from the last checkpoint, if this very configuration left one."""
        last = self._checkpoints.load("last")
        is_there = last is not None and last.about["best"]["config"] == self._best["config"]
        epoch = last.about["epoch"] if last is not None and is_there else 0
        if (expected := self.bench.group.first(epoch)) != epoch:
            raise WorkError(
                f"The workers of this trial see different checkpoints in '{self._checkpoints.store.path()}': the first "
                f"that of epoch {expected}, another that of epoch {epoch}. Put the run folder where all of them see it."
            )
        if last is None or not is_there:
            self._begin_again()
            return
        self.bench.revise(**last.about["found"])
        self.bench.chooses = self.bench.is_open = False
        load_learned(self.bench.network, _under(WEIGHTS, last.tensors))
        if self._updates.average is not None:
            self._updates.average.load(_under("average.", last.tensors))
        load_optimizer_state(self._updates.optimizer, _under("optimizer.", last.tensors), last.about["optimizer"])
        self._updates.schedule.load(last.about["schedule"])
        self.epoch, self._best = last.about["epoch"], last.about["best"]
        self._results = last.about["results"]
        for values in self._results[self._epochs_recorded :]:
            told = {**values, "config": self.config.to_json()}
            self._unreported.append(EpochResult.from_json(told, where="the checkpoint"))


def load_learned(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what a trial learned; what it left as it was pretrained is not among `tensors`.

    Raises:
        RuntimeError: If a tensor has no place in the network.
    """
    unexpected = network.load_state_dict(tensors, strict=False).unexpected_keys
    if unexpected:
        raise RuntimeError(f"The checkpoint holds {unexpected[0]}, which the network has not.")


def _identity(config: TrialConfig) -> str:
    """Return a digest of a configuration less what a trial may still find out."""
    execution = {name: value for name, value in config.execution.items() if name not in FOUND}
    return digest(config.replace(execution=execution).to_json())


def _learning(network: nn.Module, groups: Sequence[ParamGroup], *, is_frozen: bool) -> frozenset[str]:
    """Return the names of all tensors that training changes: parameters that learn, and buffers beside them."""
    learning = {id(parameter) for group in groups for parameter in group.parameters}
    parameters = dict(network.named_parameters())
    learned = {name for name, parameter in parameters.items() if id(parameter) in learning}
    buffers = network.state_dict().keys() - parameters.keys()
    return frozenset(learned | {name for name in buffers if not (is_frozen and name.startswith("backbone."))})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
