"""The frozen first layers of a network that learns in part: run once a machine, and left out of every pass after that.

What they give is kept where encoded rows are, and shared by all trials with the same data, backbone and frozen layers.
That a network can do without them is not known of its kind, but tried on a few rows before it is relied upon.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from autoft.core.cache import prepared_limit_bytes
from autoft.core.errors import WorkError
from autoft.core.filelock import Beat
from autoft.core.jsonable import Json, digest
from autoft.core.shelf import Shelf, in_memory
from autoft.training.cutting import Cut, cuts, skipped, states_behind
from autoft.training.finetune import Plan, set_train_mode
from autoft.training.memory import Rewinder, free_memory, is_out_of_memory
from autoft.training.prepared import feature_rows, telling
from autoft.training.states import Layout, States

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench

CODE = 1
"""Version of what makes the tables: one more wherever a byte may differ."""
SHARE_OF_LIMIT = 0.125
"""Of what prepared data may take on the disk, the most that the states of one backbone's rows may."""
LEAST_GAIN = 0.05
"""Of an update's operations, the least share that must be left out."""
LEAST_OPERATIONS = {"cpu": 50.0, "cuda": 20_000.0}
"""That must be left out for each byte that is read in their place: about what a core does while a byte is copied, and a
GPU while one comes to it. Of a GPU that is reckoned, not measured."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far features may be from those of the whole way, as a share of their Euclidean norm: room for passes of other
rows and kernels, of which a GPU's compute in TensorFloat-32. Dropout of a tenth gives a third."""
SPLITS = ("train", "val")
_REFUSALS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)
"""What networks raise for states of a shape that they do not expect."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A network that runs without its frozen first layers."""

    cut: Cut
    states: Mapping[str, States]
    """What those layers give, by split."""

    def without_frozen(self, network: nn.Module) -> Callable[..., Tensor]:
        """Return what passes go through that have states behind their inputs.

        Args:
            network: The trial's, or a copy.
        """

        def forward(*given: Tensor) -> Tensor:
            *inputs, states = given
            with skipped(network, self.cut, states):
                logits: Tensor = network(*inputs)
            return logits

        return forward


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A cut behind which a few rows came out as without it."""

    cut: Cut
    layout: Layout
    gain: float
    """The share of an update's operations that is left out."""
    operations_per_byte: float
    """Those of a forward pass that are left out, by the bytes of states in their place."""

    def pays(self, device: str) -> bool:
        """Return whether to run so is faster."""
        return self.gain >= LEAST_GAIN and self.operations_per_byte >= LEAST_OPERATIONS[device]


def keep_states(bench: "Workbench", plan: Plan, *, is_still: bool) -> Kept | None:
    """Return the network without its frozen first layers: if the configuration says so, or leaves it open and it pays.

    Args:
        bench: The trial's; it is told, and its network may be in another mode afterwards.
        plan: The trial's.
        is_still: Whether a row enters the network in every pass as it is.
    """
    if not (bench.is_open or bench.execution.frozen_once):
        return None
    learning = {id(parameter) for group in plan.groups for parameter in group.parameters}
    begins_frozen = not any(id(parameter) in learning for parameter in bench.backbone.layer_groups[0][1])
    kept = _kept(bench, plan, learning) if is_still and begins_frozen else None
    if bench.execution.frozen_once and kept is None:
        _log.warning("The frozen layers run in every pass: on this machine the network cannot be run without them.")
    bench.revise(frozen_once=kept is not None)
    return kept


def _kept(bench: "Workbench", plan: Plan, learning: Collection[int]) -> Kept | None:
    passes_once = bench.config.epochs <= bench.config.epochs_per_pass
    if bench.is_open and (passes_once or bench.execution.gradient_checkpointing):
        return None
    found = bench.warm.tried(_likeness(bench, plan, learning), lambda: _tried(bench, plan, learning))
    if found is None or (bench.is_open and not found.pays(bench.execution.device)):
        return None
    cut, layout = found.cut, found.layout
    num_bytes = sum(layout.num_bytes(bench.inputs.lengths(bench.encoded(split))) for split in SPLITS)
    if bench.is_open and num_bytes > SHARE_OF_LIMIT * prepared_limit_bytes():
        _log.info("The frozen layers run in every pass: what they give would take %.1f GiB.", num_bytes / 2**30)
        return None
    return Kept(cut=cut, states={split: _states(bench, cut, layout, split) for split in SPLITS})


def _likeness(bench: "Workbench", plan: Plan, learning: Collection[int]) -> str:
    """Return a digest of all that decides where the network may be cut."""
    parts = {
        "learning": [
            name for name, parameter in bench.network.backbone.named_parameters() if id(parameter) in learning
        ],
        "kept norms": [name for name, part in bench.network.named_modules() if part in plan.kept_norms],
    }
    settings: Json = {"backbone": bench.config.recipe["backbone"], "mode": bench.config.recipe["finetune"]["mode"]}
    return digest({**bench.features_key("train"), **parts, **settings})


def _tried(bench: "Workbench", plan: Plan, learning: Collection[int]) -> Tried | None:
    """Return where the network may be cut: where a few rows come out alike with and without its frozen layers."""
    network, execution = bench.network, bench.execution
    if getattr(network.backbone, "peft_config", None) is not None:
        return None
    rows = _few_rows(bench)
    inputs = _finished(bench, "train", rows)
    # In the mode of training: what a frozen layer would draw by chance shows in what comes out.
    set_train_mode(network, kept_norms=plan.kept_norms)
    rewinder, whole = Rewinder(network, torch.Generator()), torch.empty(0)

    def run() -> None:
        nonlocal whole
        torch.manual_seed(0)
        with execution.autocast():
            whole = network.features(*inputs).detach().float()

    try:
        with FlopCounterMode(display=False) as counted:
            found = cuts(network, run, learning)
        layout, states = _single(bench, found[0], rows) if found else (None, None)
        if layout is None or states is None:
            return None
        set_train_mode(network, kept_norms=plan.kept_norms)
        for cut in found:
            with FlopCounterMode(display=False) as left:
                features = _features(bench, cut, inputs, states)
            bench.heartbeat()
            if features is not None and _agree(features, whole, TOLERANCE[execution.dtype]):
                forward, rest = counted.get_total_flops(), left.get_total_flops()
                return Tried(
                    cut=cut,
                    layout=layout,
                    # A backward pass is twice what learns.
                    gain=(forward - rest) / max(forward + 2 * rest, 1),
                    operations_per_byte=(forward - rest) / states.nbytes,
                )
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        # The first update knows what to do.
    finally:
        rewinder.rewind()
    return None


def _few_rows(bench: "Workbench") -> Tensor:
    """Return four training rows of unlike length, none of the longer half."""
    order = bench.inputs.lengths(bench.encoded("train")).argsort(stable=True)
    places = [len(order) * eighths // 8 for eighths in (0, 1, 2, 4)]
    return order[torch.tensor(sorted(set(places)))]


def _finished(bench: "Workbench", split: str, rows: Tensor) -> tuple[Tensor, ...]:
    batch = bench.inputs.batch(bench.encoded(split), rows)
    return bench.inputs.finish(batch, bench.execution.torch_device, channels_last=bench.execution.channels_last)


def _behind(bench: "Workbench", cut: Cut, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.inference_mode(), bench.execution.autocast():
        return states_behind(bench.network, cut.behind, lambda: bench.network.features(*inputs))


def _evaluate(network: nn.Module) -> None:
    # LeViT and its like keep biases of an evaluation until they train.
    network.train()
    network.eval()


def _single(bench: "Workbench", cut: Cut, rows: Tensor) -> tuple[Layout | None, Tensor | None]:
    """Return the states of rows that went through alone, as a table would give them back."""
    _evaluate(bench.network)
    lengths = bench.inputs.lengths(bench.encoded("train"))[rows]
    batches: list[pa.RecordBatch] = []
    layout: Layout | None = None
    for row, length in zip(torch.split(rows, 1), lengths.tolist(), strict=True):
        inputs = _finished(bench, "train", row)
        states = _behind(bench, cut, inputs)
        layout = Layout.of(states, inputs[0] if bench.task.input_kind == "text" else None)
        if layout is None:
            return None, None
        batches.append(layout.record_batch(states, [length]))
    if layout is None:
        return None, None
    table = States(in_memory(iter(batches), layout.schema), torch.arange(len(rows)), layout)
    return layout, table.batch(torch.arange(len(rows))).to(bench.execution.torch_device)


def _features(bench: "Workbench", cut: Cut, inputs: tuple[Tensor, ...], states: Tensor) -> Tensor | None:
    """Return the features that come of states; None where the network refuses to run so."""
    torch.manual_seed(0)
    try:
        with bench.execution.autocast(), skipped(bench.network, cut, states):
            return bench.network.features(*inputs).detach().float()
    except _REFUSALS as error:
        if is_out_of_memory(error):
            raise
        return None


def _agree(features: Tensor, whole: Tensor, tolerance: float) -> bool:
    if features.shape != whole.shape or not whole.isfinite().all():
        return False
    apart, norm = torch.linalg.vector_norm(features - whole), torch.linalg.vector_norm(whole)
    return bool(apart <= tolerance * norm)


def _states(bench: "Workbench", cut: Cut, layout: Layout, split: str) -> States:
    """Return the states of a split's rows, computed if nobody has done so yet.

    Raises:
        WorkError: If there is no memory for a single row.
    """
    while True:
        rows = feature_rows(bench.execution)
        try:
            return _shared(bench, cut, layout, split, rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise WorkError(f"Memory ran out in the evaluation of a single row: {error}") from error
        free_memory()
        _log.warning("Memory ran out in the evaluation of %d rows: half as many go at a time.", rows)
        bench.revise(eval_batch=rows // 2)
        bench.note_memory("eval_batch")


def _shared(bench: "Workbench", cut: Cut, layout: Layout, split: str, rows: int) -> States:
    key: Json = {**bench.features_key(split), "table": "states", "states": CODE, "behind": cut.behind}
    lengths = bench.inputs.lengths(bench.encoded(split))
    order = lengths.argsort(stable=True)

    def make(beat: Beat) -> Iterator[pa.RecordBatch]:
        passed = telling(beat, f"states of frozen layers ({split})", len(order), rows=rows)
        _evaluate(bench.network)
        for indices in torch.split(order, rows):
            states = _behind(bench, cut, _finished(bench, split, indices))
            yield layout.record_batch(states, lengths[indices].tolist())
            passed()

    def open_table(shelf: Shelf) -> States:
        num_bytes = layout.num_bytes(lengths)
        shelved = shelf.table(key, layout.schema, make, num_bytes=num_bytes, heartbeat=bench.heartbeat)
        return States(shelved, order, layout)

    found: States = bench.warm.encoded(key, open_table)
    return found
