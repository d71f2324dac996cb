"""Draws for the pictures of a batch, one each, from a generator on the CPU."""

import numpy as np
import torch
from torch import Tensor


def occurs(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return bool (count,): True with `probability`."""
    return torch.rand(count, generator=generator, dtype=torch.float64) < probability


def between(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Return float64 (count,), drawn evenly from [low, high)."""
    return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)


def one_of(count: int, choices: int, generator: torch.Generator) -> Tensor:
    """Return int64 (count,), drawn evenly from 0 to `choices` - 1."""
    return torch.randint(choices, (count,), generator=generator)


def signs(count: int, generator: torch.Generator) -> Tensor:
    """Return int64 (count,): 1 or -1, equally likely."""
    return 1 - 2 * torch.randint(2, (count,), generator=generator)


def orders(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Return int64 (count, length): in each row 0 to `length` - 1 in a drawn order."""
    return torch.rand((count, length), generator=generator, dtype=torch.float64).argsort(dim=1)


def numpy_generator(generator: torch.Generator) -> np.random.Generator:
    """Return NumPy's generator, seeded by a draw: torch has no Beta and no Dirichlet that take a generator."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def local_generator(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return a generator on `device` for draws as many as pixels, seeded by a draw; on the CPU the given one."""
    if device == generator.device:
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))


def spread(values_B: Tensor, images_BCHW: Tensor) -> Tensor:
    """Return one value a picture as float32 (B, 1, 1, 1), beside the pictures."""
    return values_B.to(images_BCHW.device, torch.float32).view(-1, 1, 1, 1)
