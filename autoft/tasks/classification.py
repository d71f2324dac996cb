"""One of several labels for a picture or a text."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from autoft.core import catalog
from autoft.core.seeds import derive_seed
from autoft.tasks.losses import Loss, weights_of_mean
from autoft.tasks.network import LinearHead


class Classification:
    """What the classification tasks share: a head, a loss on logits, softmax."""

    name: ClassVar[str]
    """Name in the catalog."""
    input_kind: ClassVar[Literal["image", "text"]]
    """What a row is."""

    def build_head(self, num_features: int, num_classes: int, recipe: Mapping[str, Any], *, seed: int) -> nn.Module:
        """Return the head from features (B, F) to logits (B, C).

        Args:
            num_features: F, of the backbone.
            num_classes: C.
            recipe: A complete recipe, whose section `head` is read, or a probe's, which has none and gets a plain
                linear head.
            seed: Decides the first weights.
        """
        generator = torch.Generator().manual_seed(derive_seed(seed, "head"))
        config = recipe.get("head")
        if config is None:
            return LinearHead(num_features, num_classes, dropout=0.0, generator=generator)
        build = catalog.entry("head", config["name"], where="head.name").load()
        head: nn.Module = build(config, num_features, num_classes, generator)
        return head

    def build_loss(
        self, recipe: Mapping[str, Any], class_counts: Sequence[int], *, device: torch.device | str = "cpu"
    ) -> Loss:
        """Return the training loss of logits (B, C) and targets (B,), a mean over the batch.

        Args:
            recipe: A complete recipe; its section `loss` is read.
            class_counts: Rows of each class in the training split, in the order of the labels.
            device: Where logits and targets will be.
        """
        config = recipe["loss"]
        loss: Loss = catalog.entry("loss", config["name"], where="loss.name").load()(config, class_counts, device)
        return loss

    def weights_of_mean(
        self, recipe: Mapping[str, Any], class_counts: Sequence[int], *, device: torch.device | str = "cpu"
    ) -> Tensor | None:
        """Return the weight (C,) of each class in the mean of `build_loss`; None: rows count alike."""
        return weights_of_mean(recipe["loss"], class_counts, device)

    def predictions(self, logits: Tensor) -> Tensor:
        """Return the probabilities (B, C) of logits (B, C), in float64."""
        return torch.softmax(logits.double(), dim=-1)


class ImageClassification(Classification):
    """One of several labels for a picture."""

    name = "image-classification"
    input_kind = "image"


class TextClassification(Classification):
    """One of several labels for a text."""

    name = "text-classification"
    input_kind = "text"
