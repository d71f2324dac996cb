"""What is chosen on the machine that trains, and written into the configuration so that it can be obeyed again."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any, Literal, Self

import torch

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.errors import ConfigError, FormatError
from autoft.core.jsonable import Json
from autoft.core.notebook import read_note
from autoft.core.typed import check_types

Dtype = Literal["float32", "bfloat16"]
COMPUTING_PACKAGES = ("torch", "torchvision", "timm", "transformers", "tokenizers", "numpy", "pillow", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a trial computes; part of its configuration, since the last digits depend on it."""

    device: Literal["cpu", "cuda"]
    device_name: str
    """Processor or GPU, for the comparison of a reproduction."""
    threads: int
    """Threads of one operation on the processor."""
    dtype: Dtype
    """Of forward and backward passes; weights, losses and metrics are float32 always."""
    channels_last: bool
    """Memory layout of pictures and convolutions."""
    micro_batch: int
    """Rows of one forward pass in training, at most; an update adds up the gradients of its passes."""
    eval_batch: int
    """Rows of one forward pass in evaluation."""
    compile: bool = False
    """Whether the network's passes in training are compiled by torch.compile."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, which takes less memory and more time."""
    frozen_once: bool = False
    """Whether frozen first layers run once over the rows, and not in each pass: what they give is kept."""
    workers: int = 1
    """Processes that trained it together, each with a share of the rows of every micro-batch; one alone takes them all,
    and the last digits may differ."""
    ran_out: Json = field(default_factory=dict)
    """Where memory ran out: the micro-batch until then, as text, and the update, counted from 0 over all epochs."""

    @classmethod
    def from_json(cls, values: Json) -> Self:
        """Read the `execution` block of a configuration.

        Raises:
            FormatError: If it is incomplete or has settings that this version does not know.
            ConfigError: If it asks for a GPU where there is none.
        """
        check_types(cls, values, where="the execution block of the configuration")
        try:
            execution = cls(**values)
        except TypeError as error:
            raise FormatError(f"The execution block of the configuration does not fit this autoft: {error}.") from error
        if min(execution.threads, execution.micro_batch, execution.eval_batch, execution.workers) < 1:
            raise FormatError("The execution block of the configuration has a number below 1.")
        if not all(rows.isdigit() and type(update) is int for rows, update in execution.ran_out.items()):
            raise FormatError(f"ran_out in the execution block holds no rows and updates: {execution.ran_out}.")
        if execution.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("The configuration was trained on a GPU, and this machine has none that torch can use.")
        return execution

    def to_json(self) -> Json:
        """Return the `execution` block of a configuration."""
        return {name: getattr(self, name) for name in self.__slots__}

    def micro_batch_of(self, update: int) -> int:
        """Return the micro-batch of an update, counted from 0 over all epochs."""
        earlier = [int(rows) for rows, ran_out in self.ran_out.items() if update < ran_out]
        return max(earlier, default=self.micro_batch)

    @property
    def torch_device(self) -> torch.device:
        """The device as torch knows it."""
        return torch.device(self.device)

    def autocast(self) -> torch.autocast:
        """Return the context in which the network runs."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16")


def choose_execution(
    config: TrialConfig, *, input_kind: str, threads: int, workers: int = 1, policy: ExecutionPolicy | None = None
) -> Execution:
    """Return how this worker runs `config`, as far as rules say: a GPU if it sees one, channels_last for pictures.

    `measuring.measured` decides better on the dtype. What memory was found to hold is read from the notes of this
    machine, if `policy` lets them decide.
    """
    policy = policy or ExecutionPolicy()
    on_gpu = torch.cuda.is_available()
    batch = config.recipe.get("batch_size", 32)
    execution = Execution(
        device="cuda" if on_gpu else "cpu",
        device_name=device_names()["cuda" if on_gpu else "cpu"],
        threads=threads,
        dtype="bfloat16" if _gains_by_bfloat16(on_gpu=on_gpu, input_kind=input_kind) else "float32",
        channels_last=input_kind == "image",
        micro_batch=batch,
        eval_batch=max(32, batch) if not on_gpu else max(256, batch),
        gradient_checkpointing=policy.gradient_checkpointing and learns(config),
        workers=workers,
    )
    return with_noted_memory(config, execution) if policy.measures else execution


def learns(config: TrialConfig) -> bool:
    """Return whether anything of the backbone may learn."""
    return config.recipe["finetune"]["mode"] not in ("probe", "head")


def likeness(config: TrialConfig, execution: Execution) -> Json:
    """Return what two configurations have in common that compute alike on this machine: the key of its notes."""
    settings = config.recipe["backbone"]
    mode = config.recipe["finetune"]["mode"] if learns(config) else "frozen"
    together = {"workers": execution.workers} if execution.workers > 1 else {}
    return {
        **together,
        "device": execution.device_name,
        "torch": torch.__version__,
        "threads": execution.threads,
        "backbone": {name: settings.get(name) for name in ("name", "input_size", "max_length", "pooling")},
        "mode": mode,
        "batch": config.recipe.get("batch_size", 32) if learns(config) else None,
    }


def with_noted_memory(config: TrialConfig, execution: Execution) -> Execution:
    """Return `execution` with no more rows at a time than like configurations were found to have memory for."""
    note = read_note("memory", likeness(config, execution)) or {}
    rows = {name: note.get(name) for name in ("micro_batch", "eval_batch")}
    known = {name: value for name, value in rows.items() if type(value) is int and value >= 1}
    return replace(
        execution,
        **{name: min(value, getattr(execution, name)) for name, value in known.items()},
        gradient_checkpointing=execution.gradient_checkpointing or note.get("gradient_checkpointing") is True,
    )


def _gains_by_bfloat16(*, on_gpu: bool, input_kind: str) -> bool:
    """Return whether bfloat16 is the faster one by rule: on a GPU that has it, and for texts on a processor with AMX.

    With the instructions of AVX-512 alone, texts trained at .65 of the speed of float32, pictures slower too.
    """
    if on_gpu:
        return computes_in_bfloat16(on_gpu=True)
    return input_kind == "text" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def computes_in_bfloat16(*, on_gpu: bool) -> bool:
    """Return whether the device has instructions for bfloat16; without them it is imitated, slowly."""
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def processor_name() -> str:
    """Return the processor's model, as the system names it."""
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return str(capabilities.get("cpu_name") or platform.processor() or platform.machine())


def versions() -> Json:
    """Return the versions of everything that can change a result."""
    return dict(_versions())


@cache
def _versions() -> Json:
    packages = {name: version(name) for name in COMPUTING_PACKAGES}
    return {"python": platform.python_version(), "autoft": version("autoft"), **packages}


def device_names() -> Json:
    """Return the name of each device that torch can use here, by its kind."""
    names = {"cpu": processor_name()}
    if torch.cuda.is_available():
        names["cuda"] = torch.cuda.get_device_name()
    return names


def default_threads() -> int:
    """Return the threads that this process was given: OMP_NUM_THREADS, or the cores it may run on."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else len(os.sched_getaffinity(0))
