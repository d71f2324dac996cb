"""The frozen probe: features of the pretrained backbone, a linear head by a fixed solver, a transferability score."""

import logging
import time

import torch
from torch import Tensor, nn

from autoft.core.configs import EpochResult, TrialConfig
from autoft.core.jsonable import finite_or_none
from autoft.core.metrics import TRANSFERABILITY
from autoft.core.storage import Store
from autoft.training.checkpoint import Checkpoints
from autoft.training.probed import probe_data, probe_rows, take_solution
from autoft.training.solver import linear_head
from autoft.training.timing import Stopwatch
from autoft.training.transferability import logme
from autoft.training.workbench import Workbench

_log = logging.getLogger(__name__)


class Probe:
    """A trial of one epoch: multinomial logistic regression on frozen features.

    The head gets the solution, so the network predicts by itself. It also reports the LogME of the training features.

    Reference: Kornblith et al., Do Better ImageNet Models Transfer Better?, arXiv:1805.08974.
    """

    def __init__(self, bench: Workbench, store: Store, *, opened: float) -> None:
        """Take the workbench; the worker began to open the probe at `opened`, by `time.perf_counter`."""
        self._opened = opened
        self.bench = bench
        self._store = store
        if bench.policy.takes_less:
            bench.revise(eval_batch=max(1, bench.execution.eval_batch // 2))
            bench.note_memory("eval_batch")

    @property
    def config(self) -> TrialConfig:
        """The filled configuration, with what the worker has found out so far."""
        return self.bench.config

    def run_epoch(self) -> EpochResult:
        """Compute the features, solve, evaluate, score the features, save."""
        watch = Stopwatch(self.bench.execution.torch_device, waited=time.perf_counter() - self._opened)
        bench = self.bench
        rows = probe_rows(bench)
        if rows is not None:
            whole = bench.dataset.num_rows("train")
            _log.info("The head is solved on %d of %d training rows, each class with its share.", len(rows), whole)
        bench.frozen_features("train", rows)
        watch.lap("forward_backward")
        bench.frozen_features("val")
        watch.lap("evaluate")
        take_solution(bench)
        features, targets = probe_data(bench)
        layer = linear_head(bench.network)
        with torch.no_grad():
            device = layer.weight.device
            logits = {s: layer(values.float().to(device)).cpu() for s, values in features.items()}
        score = logme(features["train"], targets["train"])
        bench.heartbeat()
        watch.lap("optimizer")
        train_loss = nn.functional.cross_entropy(logits["train"].double(), targets["train"]).item()
        metrics = {
            "train_loss": finite_or_none(train_loss),
            **bench.quality(logits["val"], "val"),
            TRANSFERABILITY: score,
            **bench.costs(),
        }
        watch.lap("evaluate")
        is_finite = metrics["val_loss"] is not None
        state = head_state(bench)
        about = {"epoch": 1, "metrics": metrics}
        checkpoints = Checkpoints(self._store)
        with checkpoints.drafted(state) as drafts:
            weights_sha256 = drafts.weights_sha256
            checkpoints.publish(drafts, best=about)
        watch.lap("checkpoint")
        return EpochResult(
            epoch=1,
            metrics=metrics,
            seconds=watch.seconds,
            status="completed" if is_finite else "diverged",
            is_best=is_finite,
            reason="A probe is one solve." if is_finite else "The frozen features were not finite.",
            timings=watch.timings,
            weights_sha256=weights_sha256,
            config=self.config.to_json(),
        )


def head_state(bench: Workbench) -> dict[str, Tensor]:
    """Return the head's weights under the names that they have in the network."""
    return {f"head.{name}": value.detach() for name, value in bench.network.head.state_dict().items()}
