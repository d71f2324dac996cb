"""What every backbone is, and the one forward pass that measures it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json

LayerGroups = list[tuple[str, list[nn.Parameter]]]


@dataclass(kw_only=True, slots=True)
class Backbone:
    """A module from inputs to features, with all that training and a bundle need to know of it."""

    module: nn.Module
    """Pictures: float (B, 3, S, S), normalised, to (B, F). Texts: (input_ids, attention_mask), each int64 (B, L),
    to (B, F). In evaluation mode."""
    num_features: int
    """F."""
    layer_groups: LayerGroups
    """Names and parameters from input to output; every pretrained parameter of the module is in one group."""
    preprocessing: Json
    """`kind` "image": size, mean, std; `kind` "text": max_length, tokenizer (a tokenizer.json), pad_id."""
    architecture: Json
    """What `rebuild` needs to make the same module again."""
    weights: Json
    """`source` in words, and `sha256` of the pretrained tensors by content."""
    no_decay: frozenset[str] = frozenset()
    """Names, in the module, of parameters that weights' decay would harm: position embeddings, class tokens and the
    like, and what timm says of its models. Norms and biases are not named."""
    pooling: nn.Module | None = None
    """The part of the module whose parameters are fresh and learn together with the head, if there is one."""
    embeddings: nn.Module | None = None
    """Of texts: the part of the module from token ids (B, L) to embeddings (B, L, E)."""

    def example(self) -> tuple[Tensor, ...]:
        """Return finished inputs of one row, on the processor: an empty picture, or a few tokens."""
        if self.preprocessing["kind"] == "image":
            size = self.preprocessing["size"]
            return (torch.zeros(1, 3, size, size),)
        ids = torch.zeros(1, min(8, self.preprocessing["max_length"]), dtype=torch.int64)
        return ids, torch.ones_like(ids)


def num_features(module: nn.Module, *inputs: Tensor) -> int:
    """Return the features that `module`, in evaluation mode, gives for inputs of one row.

    Raises:
        ConfigError: If it gives anything but one row of features.
    """
    with torch.no_grad():
        output = module(*inputs)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(f"It gives {shape} for one input, not one vector of features.")
    return output.shape[1]


@contextmanager
def watched_paths(module: nn.Module) -> Iterator[list[nn.Module]]:
    """Give a list that fills with the modules that drop paths, as forward passes call them."""
    called: list[nn.Module] = []
    handles = [
        part.register_forward_hook(lambda part, _inputs, _output: called.append(part))
        for part in module.modules()
        if _drops(part)
    ]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _drops(part: nn.Module) -> bool:
    rate = getattr(part, "drop_prob", None)
    return isinstance(rate, float) and rate > 0


@contextmanager
def fixed_random_numbers(seed: int = 0) -> Iterator[None]:
    """Draw from `seed` inside, and give the caller's random numbers back as they were.

    So random weights, too, are a function of the configuration, and whether a backbone was built or kept from an
    earlier trial changes no later draw.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
