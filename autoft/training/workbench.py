"""What a trial and a probe share: the network on its device, the encoded rows, a forward pass over a split."""

import contextlib
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autoft import evaluation
from autoft.backbones import Backbone
from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.errors import WeightsError, WorkError
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json, digest, finite_or_none
from autoft.core.metrics import Objective, parse_objective, quality_metrics
from autoft.core.notebook import read_note, write_note
from autoft.core.shelf import Shelf
from autoft.data import Dataset
from autoft.tasks import Classification, Inputs, Network, get_task
from autoft.tasks.inference import forward_all
from autoft.training.depthwise import quicken
from autoft.training.execution import Execution, choose_execution, default_threads, learns, likeness, versions
from autoft.training.finetune.adapters import install_adapters
from autoft.training.group import ALONE, Group
from autoft.training.measuring import measured
from autoft.training.memory import Peak, free_memory, is_out_of_memory
from autoft.training.prepared import (
    encoded_key,
    encoded_table,
    feature_rows,
    features_key,
    features_tensor,
    telling,
)
from autoft.training.warm import WarmCache

if TYPE_CHECKING:
    from autoft.training.kept import Kept
    from autoft.training.states import States

LATENCY_REPEATS = 9
Rows = np.ndarray[Any, np.dtype[np.int64]]
"""Places of rows within a split."""

_log = logging.getLogger(__name__)


class _FewerRowsError(Exception):
    """That features were computed in passes of fewer rows than their key says."""


def _no_heartbeat() -> None:
    """Do nothing: nobody watches."""


@dataclass(kw_only=True)
class Workbench:
    """A configuration brought to life on this machine."""

    config: TrialConfig
    """Filled: `weights`, `versions` and `execution` are there."""
    dataset: Dataset
    execution: Execution
    task: Classification
    backbone: Backbone
    network: Network
    inputs: Inputs
    warm: WarmCache
    heartbeat: Callable[[], None] = _no_heartbeat
    policy: ExecutionPolicy = field(default_factory=ExecutionPolicy)
    group: Group = ALONE
    """The processes that train it together."""
    chooses: bool = False
    """Whether what is measured here may decide how it is computed: the configuration did not say."""
    is_open: bool = False
    """Whether rules may: it did not."""
    kept: "Kept | None" = None
    """The network as it runs on what its frozen first layers give, once that is known."""
    _peak: Peak
    _costs: Json = field(default_factory=dict)
    _encoded: dict[str, Any] = field(default_factory=dict)
    _features: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def set_up(
        cls,
        config: TrialConfig,
        dataset: Dataset,
        *,
        warm: WarmCache,
        heartbeat: Callable[[], None] = _no_heartbeat,
        policy: ExecutionPolicy | None = None,
        group: Group = ALONE,
    ) -> "Workbench":
        """Build the network and fill the configuration; an `execution` that is there is obeyed, else `policy` is.

        Raises:
            AutoftError: If weights cannot be had or are not those that the configuration names, or settings do not
                fit the backbone.
        """
        task, policy = get_task(config.task), policy or ExecutionPolicy()
        if config.execution:
            execution = Execution.from_json(config.execution)
        else:
            execution = choose_execution(
                config, input_kind=task.input_kind, threads=default_threads(), workers=group.size, policy=policy
            )
        torch.set_num_threads(execution.threads)
        heartbeat()
        torch.manual_seed(config.seed)
        peak = Peak(execution.device)
        backbone = warm.backbone(config.recipe["backbone"], learns=learns(config))
        _check_weights(config, backbone)
        head = task.build_head(backbone.num_features, len(dataset.labels), config.recipe, seed=config.seed)
        network = Network(backbone.module, head)
        num_parameters = sum(parameter.numel() for parameter in network.parameters())
        install_adapters(network, backbone, config.recipe, seed=config.seed)
        network = network.to(execution.torch_device)
        if execution.channels_last:
            network = network.to(memory_format=torch.channels_last)
        if execution.device == "cpu":
            quicken(network)
        chooses = policy.measures and not config.execution
        if chooses:
            execution = measured(execution, network, config, backbone.preprocessing, heartbeat=heartbeat)
        heartbeat()
        filled = config.replace(
            weights=config.weights or dict(backbone.weights),
            versions=versions(),
            execution=config.execution or execution.to_json(),
        )
        return cls(
            config=filled,
            dataset=dataset,
            execution=execution,
            task=task,
            backbone=backbone,
            network=network,
            inputs=warm.inputs(config.recipe["backbone"], backbone.preprocessing),
            warm=warm,
            heartbeat=heartbeat,
            policy=policy,
            group=group,
            # A group would have to agree on what each of its processes finds.
            chooses=chooses and group.is_alone,
            is_open=not config.execution and group.is_alone,
            _peak=peak,
            _costs={"parameters": num_parameters},
        )

    def revise(self, **changes: Any) -> None:
        """Compute otherwise from here on, and let the configuration say so."""
        self.execution = replace(self.execution, **changes)
        self.config = self.config.replace(execution=self.execution.to_json())

    def note_memory(self, *names: str) -> None:
        """Let like configurations on this machine begin with what this one has come to, of `execution`'s settings.

        What a share of a GPU does not hold says nothing of a whole one, and is not noted.
        """
        if self.policy.gpu_share < 1:
            return
        key = likeness(self.config, self.execution)
        found = {name: getattr(self.execution, name) for name in names}
        write_note("memory", key, {**(read_note("memory", key) or {}), **found})

    @property
    def objective(self) -> Objective:
        """What decides which epoch is the best."""
        return parse_objective(self.config.metrics[0])

    def encoded(self, split: str, *, heartbeat: Beat | None = None) -> Any:
        """Return a split's rows, encoded once on this machine."""
        if split not in self._encoded:
            key, beat = encoded_key(self.dataset, split, self.backbone.preprocessing), heartbeat or self.heartbeat

            def open_table(shelf: Shelf) -> Any:
                return self.inputs.open(encoded_table(shelf, key, self.inputs, self.dataset, split, heartbeat=beat))

            self._encoded[split] = self.warm.encoded(key, open_table)
        return self._encoded[split]

    def targets(self, split: str) -> Tensor:
        """Return a split's targets, int64 (N,)."""
        return torch.from_numpy(self.dataset.targets(split))

    def features_key(self, split: str, places: Rows | None = None) -> Json:
        """Return all that decides the features of a split, or of its rows at `places`."""
        key = features_key(self.dataset, split, self.backbone, self.execution, self.config)
        return key if places is None else key | {"places": digest(places.tolist())}

    def frozen_features(self, split: str, places: Rows | None = None) -> Tensor:
        """Return the pretrained backbone's features of a split, float32 (N, F), computed once on this machine.

        To be asked for before anything of the backbone learns.

        Args:
            split: Of the data.
            places: Of the rows that are wanted; None: all.
        """
        name = split if places is None else f"{split} {digest(places.tolist())}"
        while name not in self._features:
            with contextlib.suppress(_FewerRowsError):  # then the key is another
                self._features[name] = self._shared_features(split, places)
        return self._features[name]

    def _shared_features(self, split: str, places: Rows | None) -> Tensor:
        """Return features from the shelf, computed if nobody has done so yet.

        Raises:
            _FewerRowsError: If memory did not hold as many rows at a time as the key says.
        """
        key = self.features_key(split, places)
        rows = feature_rows(self.execution)
        num_rows = self.dataset.num_rows(split) if places is None else len(places)

        def compute(beat: Beat) -> Tensor:
            self.encoded(split, heartbeat=beat)
            passed = telling(beat, f"features ({split})", num_rows, rows=rows)
            features = self._forward(self.network.features, split, rows=rows, places=places, heartbeat=passed)
            if feature_rows(self.execution) != rows:
                raise _FewerRowsError
            return features

        def read(shelf: Shelf) -> Tensor:
            return features_tensor(
                shelf,
                key,
                compute,
                num_rows=num_rows,
                num_features=self.backbone.num_features,
                heartbeat=self.heartbeat,
            )

        return self.warm.features(key, read)

    def logits(self, split: str, network: torch.nn.Module | None = None) -> Tensor:
        """Return the logits of every row of a split, float32 (N, C), in evaluation mode.

        Each process of the group computes those of its share of the rows, and all get all of them.
        """
        module = self.network if network is None else network
        states = None if self.kept is None else self.kept.states.get(split)
        forward = module if self.kept is None or states is None else self.kept.without_frozen(module)
        if self.group.is_alone:
            return self._forward(forward, split, module, states=states)
        count = self.dataset.num_rows(split)
        places = np.arange(count)[self.group.share(count)]
        if len(places):
            share = self._forward(forward, split, module, places=places, states=states)
        else:
            share = torch.empty(0, len(self.dataset.labels))
        return self.group.gather(share, count)

    def probabilities(self, split: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the probabilities of every row of a split, float64 (N, C)."""
        probabilities: np.ndarray[Any, np.dtype[np.float64]] = self.task.predictions(self.logits(split)).numpy()
        return probabilities

    def _forward(
        self,
        forward: Callable[..., Tensor],
        split: str,
        module: torch.nn.Module | None = None,
        *,
        rows: int | None = None,
        places: Rows | None = None,
        states: "States | None" = None,
        heartbeat: Beat | None = None,
    ) -> Tensor:
        """Run `forward` over rows of a split; where memory runs out, again with half as many at a time.

        It gets the `states` of the rows behind their inputs, if there are any.
        """
        at_once = self.execution.eval_batch if rows is None else rows
        while True:
            try:
                beat = heartbeat or self.heartbeat
                return self._forward_all(
                    forward, split, module, rows=at_once, places=places, states=states, heartbeat=beat
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                at_once = min(at_once, self.dataset.num_rows(split))
                if at_once == 1:
                    raise WorkError(f"Memory ran out in the evaluation of a single row: {error}") from error
            free_memory()
            _log.warning("Memory ran out in the evaluation of %d rows: half as many go at a time.", at_once)
            at_once //= 2
            self.revise(eval_batch=at_once)
            self.note_memory("eval_batch")

    def _forward_all(
        self,
        forward: Callable[..., Tensor],
        split: str,
        module: torch.nn.Module | None,
        *,
        rows: int,
        places: Rows | None,
        states: "States | None",
        heartbeat: Beat,
    ) -> Tensor:
        return forward_all(
            forward,
            self.network if module is None else module,
            self.inputs,
            self.encoded(split),
            num_rows=self.dataset.num_rows(split),
            places=None if places is None else torch.from_numpy(places),
            more=None if states is None else states.batch,
            batch_size=rows,
            device=self.execution.torch_device,
            channels_last=self.execution.channels_last,
            autocast=self.execution.autocast(),
            heartbeat=heartbeat,
        )

    def quality(self, logits: Tensor, split: str) -> Json:
        """Return loss and the metrics of the configuration by column name, None where not finite.

        On the validation split the first metric comes with its standard error over the rows.
        """
        targets = self.targets(split)
        loss = torch.nn.functional.cross_entropy(logits.double(), targets).item()
        columns: Json = {f"{split}_loss": finite_or_none(loss)}
        names = quality_metrics(self.config.metrics)
        if not torch.isfinite(logits).all():
            return columns | {f"{split}_{name}": None for name in names}
        probabilities = self.task.predictions(logits).numpy()
        values = evaluation.evaluate(names, targets.numpy(), probabilities)
        columns |= {f"{split}_{name}": finite_or_none(values[name]) for name in names}
        if split == "val":
            columns[f"val_{names[0]}_stderr"] = evaluation.standard_error(
                names[0], targets.numpy(), probabilities, self.config.seed
            )
        return columns

    def costs(self) -> Json:
        """Return parameters, latency_ms, measured once a worker and network, and what `Peak.costs` says."""
        if "latency_ms" not in self._costs:
            key = (
                self.dataset.fingerprint,
                str(self.config.recipe["backbone"]),
                str(self.execution),
                repr(self.network),
            )
            self._costs["latency_ms"] = self.warm.latency_ms(key, self._latency_ms)
        return self._costs | self._peak.costs()

    def _latency_ms(self) -> float:
        seconds = []
        batch = self.inputs.batch(self.encoded("val"), [0])
        self.network.eval()
        with torch.inference_mode(), self.execution.autocast():
            for _ in range(LATENCY_REPEATS):
                start = time.perf_counter()
                finished = self.inputs.finish(
                    batch, self.execution.torch_device, channels_last=self.execution.channels_last
                )
                self.network(*finished).float().cpu()
                seconds.append(time.perf_counter() - start)
        return round(statistics.median(seconds) * 1000, 3)


def _check_weights(config: TrialConfig, backbone: Backbone) -> None:
    named, found = config.weights.get("sha256"), backbone.weights["sha256"]
    if named is not None and named != found:
        name = config.recipe["backbone"]["name"]
        raise WeightsError(
            f"The pretrained weights of {name} ({backbone.weights['source']}) are not those that the trial began with: "
            f"their SHA-256 is {found[:12]}..., not {named[:12]}...; put those back, or start a new search."
        )
