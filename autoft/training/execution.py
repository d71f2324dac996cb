"""What is chosen on the machine that trains, and written into the configuration so that it can be obeyed again."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal, Self

import torch

from autoft.core.configs import TrialConfig
from autoft.core.errors import ConfigError, FormatError
from autoft.core.jsonable import Json
from autoft.core.typed import check_types

COMPUTING_PACKAGES = ("torch", "torchvision", "timm", "transformers", "tokenizers", "numpy", "pillow", "scikit-learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """How a trial computes; part of its configuration, since the last digits depend on it."""

    device: Literal["cpu", "cuda"]
    device_name: str
    """Processor or GPU, for the comparison of a reproduction."""
    threads: int
    """Threads of one operation on the processor."""
    dtype: Literal["float32", "bfloat16"]
    """Of forward and backward passes; weights, losses and metrics are float32 always."""
    channels_last: bool
    """Memory layout of pictures and convolutions."""
    micro_batch: int
    """Rows of one forward pass in training."""
    eval_batch: int
    """Rows of one forward pass in evaluation."""

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
        if min(execution.threads, execution.micro_batch, execution.eval_batch) < 1:
            raise FormatError("The execution block of the configuration has a number below 1.")
        if execution.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("The configuration was trained on a GPU, and this machine has none that torch can use.")
        return execution

    @property
    def torch_device(self) -> torch.device:
        """The device as torch knows it."""
        return torch.device(self.device)

    def autocast(self) -> torch.autocast:
        """Return the context in which the network runs."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16")


def choose_execution(config: TrialConfig, *, input_kind: str, threads: int) -> Execution:
    """Return how this worker runs `config`: a GPU if it sees one, bfloat16 where the device computes in it.

    On processors bfloat16 is for text alone: matrix products gain much from it there, convolutions little.
    """
    on_gpu = torch.cuda.is_available()
    batch = config.recipe.get("batch_size", 32)
    return Execution(
        device="cuda" if on_gpu else "cpu",
        device_name=device_names()["cuda" if on_gpu else "cpu"],
        threads=threads,
        dtype="bfloat16" if _computes_in_bfloat16(on_gpu, input_kind) else "float32",
        channels_last=input_kind == "image",
        micro_batch=batch,
        eval_batch=max(32, batch) if not on_gpu else max(256, batch),
    )


def _computes_in_bfloat16(on_gpu: bool, input_kind: str) -> bool:
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return input_kind == "text" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def processor_name() -> str:
    """Return the processor's model, as the system names it."""
    capabilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return str(capabilities.get("cpu_name") or platform.processor() or platform.machine())


def versions() -> Json:
    """Return the versions of everything that can change a result."""
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
