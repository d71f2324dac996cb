"""Augmentation of batches (pictures as uint8, texts as token ids; each row with draws of its own), and their mixing."""

from autoft.augment.mixing import Mixed, Mixing, build_mixing
from autoft.augment.policy import Augmentation, Batch, build_augmentation

__all__ = ["Augmentation", "Batch", "Mixed", "Mixing", "build_augmentation", "build_mixing"]
