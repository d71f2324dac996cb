"""torch.compile of a network's passes in training, where a search wins the time of the compilation back.

Compiled are pictures of one size, with the number of rows left open; texts come in too many lengths. Evaluation stays
as it is: it would be another compilation. All workers and trials share one cache on the disk.
"""

import importlib.util
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoft.core.cache import cache_folder
from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.notebook import alone, read_note, write_note
from autoft.training.depthwise import compile_graph
from autoft.training.execution import Execution, learns, likeness
from autoft.training.measuring import PASSES, noted_seconds
from autoft.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench

SPEEDUP = 1.4
"""Expected before it was measured here; this and the seconds are EfficientNet-Lite0's on one core."""
COLD_SECONDS = 100.0
WARM_SECONDS = 6.5
"""With what an earlier trial left in the cache."""
MARGIN = 2.0
"""How often the seconds must be won back: many trials end early."""
WORTH = 1.05
"""Of a speed-up that was measured, the least for which compiled passes are kept."""

_log = logging.getLogger(__name__)

Forward = Callable[..., Tensor]
"""The network, or its compiled form."""
Rehearse = Callable[[Forward], None]
"""Does a forward and backward pass of one batch, and leaves no trace."""


def compile_passes(bench: "Workbench", rehearse: Rehearse, first_rows: Callable[[], int]) -> Forward:
    """Return what the passes go through, compiled where the configuration says so, or leaves it open and it pays.

    Args:
        bench: The trial's; it is told.
        rehearse: Does a pass of the first batch.
        first_rows: Returns the rows of that batch.
    """
    is_wanted = _pays_here(bench, rehearse, first_rows) if bench.chooses else bench.execution.compile
    if not is_wanted:
        return bench.network
    forward = compile_training(bench.network, rehearse, bench.config, bench.execution, measures=bench.chooses)
    bench.revise(compile=forward is not None)
    return forward or bench.network


def _pays_here(bench: "Workbench", rehearse: Rehearse, first_rows: Callable[[], int]) -> bool:
    config, execution = bench.config, bench.execution
    seconds = noted_seconds(config, execution)
    if seconds is None or not can_compile(config, execution, input_kind=bench.task.input_kind):
        return False
    note = compile_note(config, execution)
    num_rows = bench.dataset.num_rows("train") * config.epochs / config.epochs_per_pass
    if not pays(seconds * num_rows, bench.policy, note):
        return False
    # What is noted may be of single rows, of which each takes longer than in a batch.
    rows = min(execution.micro_batch, first_rows())
    try:
        seconds = seconds_of(rehearse, bench.network) / rows
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return False  # The first update knows what to do.
        raise
    return pays(seconds * num_rows, bench.policy, note)


def can_compile(config: TrialConfig, execution: Execution, *, input_kind: str) -> bool:
    """Return whether a trial's passes in training are of one shape and graph, and there is a compiler."""
    recipe = config.recipe
    is_steady = recipe["resizing"]["name"] == "fixed" and recipe["finetune"]["mode"] != "gradual"
    is_one_pass = recipe["optimizer"]["name"] != "sam" and not execution.gradient_checkpointing
    is_for_it = input_kind == "image" and learns(config) and is_steady and is_one_pass
    return is_for_it and has_compiler(execution.device)


@cache
def has_compiler(device: str) -> bool:
    """Return whether this machine can compile for the device; says so, once, where it cannot."""
    compiler = os.environ.get("CXX", "g++")
    missing = [] if shutil.which(compiler) else [compiler]
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        missing.append("triton")
    if missing:
        _log.warning("Nothing is compiled here: there is no %s.", " and no ".join(missing))
    return not missing


def pays(seconds: float, policy: ExecutionPolicy, note: Json) -> bool:
    """Return whether compiling wins its time back.

    Args:
        seconds: Of all passes of one training, not compiled.
        policy: How many such trainings are expected.
        note: What `compile_note` returned.
    """
    if "failed" in note:
        return False
    won = seconds * (1 - 1 / note.get("speedup", SPEEDUP))
    each = note.get("warm_seconds", WARM_SECONDS)
    trainings = policy.trainings if policy.seconds is None else min(policy.trainings, policy.seconds / seconds)
    if "speedup" in note:
        return bool(won * min(trainings, 1) > MARGIN * each)
    return bool(trainings * (won - each) > MARGIN * COLD_SECONDS)


def compile_note(config: TrialConfig, execution: Execution) -> Json:
    """Return what is known here of compiling like configurations.

    That is `failed`, a sentence; or numbers: `speedup`, `cold_seconds` and, from the second time on, `warm_seconds`.
    """
    note = read_note("compile", compile_key(config, execution)) or {}
    is_sound = "failed" in note or all(isinstance(value, float) and value > 0 for value in note.values())
    return note if is_sound else {}


def compile_training(
    network: nn.Module, rehearse: Rehearse, config: TrialConfig, execution: Execution, *, measures: bool
) -> Forward | None:
    """Return the compiled network; None where that failed, is no faster, or another worker is at it.

    Args:
        network: In the mode in which it trains.
        rehearse: Runs it.
        config: The trial's.
        execution: How it runs.
        measures: Whether the gain is measured, if it is not known here, and decides.
    """
    key = compile_key(config, execution)
    with alone("compile", key, waits=not measures) as is_alone:
        if not is_alone:
            _log.info("Another worker compiles this network now: this trial goes on without.")
            return None
        note = compile_note(config, execution)
        folder = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or cache_folder() / "inductor")
        if not is_own(folder):
            _log.warning("Nothing is compiled here: others may write to %s, and torch trusts what lies there.", folder)
            return None
        forward = _compiled(network, execution, folder)
        try:
            seconds = seconds_of(rehearse, forward)
        except (RuntimeError, OSError, ImportError, MemoryError) as error:
            if is_out_of_memory(error):
                return None  # Of this moment; updates know what to do.
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _log.warning("The network cannot be compiled, and trains as it is: %s", line)
            write_note("compile", key, {"failed": line})
            return None
        if not measures:
            return forward
        if "speedup" not in note:
            note = {"cold_seconds": seconds, "speedup": _speedup(rehearse, network, forward, execution)}
            write_note("compile", key, note)
        elif seconds > note.get("warm_seconds", 0.0):
            write_note("compile", key, {**note, "warm_seconds": seconds})
        _log.info("Compiled in %.1f s; passes are %.2f times as fast.", seconds, note["speedup"])
        return forward if note["speedup"] >= WORTH else None


def compile_key(config: TrialConfig, execution: Execution) -> Json:
    """Return the key of the note on compiling networks like a trial's."""
    return {**likeness(config, execution), "dtype": execution.dtype, "passes": PASSES}


def is_own(folder: Path) -> bool:
    """Return whether this user alone may write to a folder, which is made if it is not there.

    What torch keeps of a compilation are pickles and libraries, which it loads without a question.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compiled(network: nn.Module, execution: Execution, folder: Path) -> Forward:
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    # Its helper processes would take cores that belong to other trials.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(execution.threads))
    compiled = torch.compile(network, backend=compile_graph)

    def forward(*inputs: Tensor) -> Tensor:
        for part in inputs:
            # Updates differ by a row, and recipes by their batch size: each would be compiled anew.
            torch._dynamo.maybe_mark_dynamic(part, 0)
        logits: Tensor = compiled(*inputs)
        return logits

    return forward


def _speedup(rehearse: Rehearse, network: nn.Module, forward: Forward, execution: Execution) -> float:
    # Of a single thread the seconds that it computed: others on the machine do not count.
    clock = time.process_time if execution.device == "cpu" and execution.threads == 1 else time.perf_counter
    times: dict[Forward, list[float]] = {network: [], forward: []}
    for _ in range(2):
        for each, seconds in times.items():
            seconds.append(seconds_of(rehearse, each, clock))
    return min(times[network]) / min(times[forward])


def seconds_of(rehearse: Rehearse, forward: Forward, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return what a pass of the first batch takes."""
    start = clock()
    rehearse(forward)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start
