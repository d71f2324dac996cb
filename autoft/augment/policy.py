"""What an augmentation is, and how one is built from a recipe."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from autoft.core import catalog

Batch = tuple[Tensor, ...]
"""(images_BCHW,) in uint8, or (input_ids, attention_mask), before they are finished for the backbone."""

Augmentation = Callable[[Batch, torch.Generator], Batch]
"""From a batch to another of the same shapes and dtypes; all chance comes from the generator."""


def build_augmentation(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> Augmentation | None:
    """Return the augmentation of a recipe's section `augmentation`, or None if it leaves inputs as they are.

    Args:
        config: `name` and all settings of that entry of the catalog.
        preprocessing: The backbone's.

    Raises:
        ConfigError: If there is no such augmentation, or this backbone cannot have it.
    """
    entry = catalog.entry("augmentation", config["name"], where="augmentation.name")
    augmentation: Augmentation | None = entry.load()(config, preprocessing)
    return augmentation


def none(config: Mapping[str, Any], preprocessing: Mapping[str, Any]) -> None:
    """Return None: inputs stay as they are."""
