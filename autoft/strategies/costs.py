"""What an epoch of a recipe costs beside another's, from published facts alone: nothing here is measured.

One unit is a thousand million multiply-adds a row, of a forward pass.
"""

from collections.abc import Mapping
from typing import Any

from autoft.core import catalog
from autoft.core.jsonable import Json

UNKNOWN = 1.0
"""Units of a backbone of which nothing is published."""
IMAGE_PLACES = 196
"""Places of a picture at 224 px for a transformer of 16 px patches: each parameter is used once at each."""
PASSES: Mapping[str, float] = {"probe": 1.0, "head": 1.0, "lora": 2.0, "dora": 2.0, "ia3": 2.0, "norm_bias": 2.0}
"""Forward passes that a row's training is worth: the gradients of inputs, and those of weights, are one more each."""
ALL_PASSES = 3.0
CACHED = 0.1
"""Of a forward pass, what a head costs an epoch whose features are computed once for all epochs."""


def epoch_cost(recipe: Json) -> float:
    """Return the predicted cost of training one row once, in units; above 0.

    Args:
        recipe: Complete; its backbone is one of the catalog.
    """
    mode = recipe["finetune"]["mode"]
    if mode == "head" and _named(recipe, "augmentation") == "none" and _named(recipe, "mixing") == "none":
        return CACHED * _forward(recipe["backbone"])
    passes = PASSES.get(mode, ALL_PASSES)
    if mode == "partial":
        passes = 1.0 + (ALL_PASSES - 1.0) * _learning_share(recipe)
    if _named(recipe, "optimizer") == "sam" or _named(recipe, "regularization") in ("r_drop", "fgm"):
        passes *= 2.0
    return passes * _forward(recipe["backbone"])


def _forward(backbone: Json) -> float:
    facts = catalog.entry("backbone", backbone["name"]).facts
    if "gmacs" in facts:
        size = backbone.get("input_size") or facts["input_size"]
        return max(1e-3, float(facts["gmacs"]) * (float(size) / float(facts["input_size"])) ** 2)
    if "parameters" not in facts:
        return UNKNOWN
    places = backbone.get("max_length") or IMAGE_PLACES
    return max(1e-3, float(facts["parameters"]) * float(places) / 1e9)


def _learning_share(recipe: Json) -> float:
    """Return the share of a partly frozen backbone's groups that learn; a half where their number is not known."""
    groups = catalog.entry("backbone", recipe["backbone"]["name"]).facts.get("groups")
    frozen = recipe["finetune"].get("frozen_groups")
    if not groups or frozen is None:
        return 0.5
    return min(1.0, max(0.0, 1.0 - float(frozen) / float(groups)))


def _named(recipe: Json, section: str) -> Any:
    return recipe.get(section, {}).get("name", "none")
