"""Pretrained backbones: from a configuration to a module from inputs to features, and where its weights lie.

Importing this room, and `locate`, load neither torch nor timm nor transformers.
"""

from typing import TYPE_CHECKING

from autoft.backbones.brought import weights_of
from autoft.backbones.locate import check_weights, locate, needed_files
from autoft.backbones.sources import WeightsSource
from autoft.backbones.travelling import bring, folder_changes, learn_folders, require_folders
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.backbones.backbone import Backbone

__all__ = [
    "Backbone",
    "WeightsSource",
    "bring",
    "build",
    "check_weights",
    "folder_changes",
    "learn_folders",
    "locate",
    "needed_files",
    "rebuild",
    "require_folders",
    "weights_of",
]


def build(config: Json, *, pretrained: bool = True) -> "Backbone":
    """Return the backbone of a recipe's section `backbone`; the same section gives the same weights.

    Args:
        config: `name` and the settings of its catalog entry; what is left out has the entry's default.
        pretrained: False starts from random weights, as `weights: none` does; they are a function of the section
            alone, and the caller's random numbers stay as they are.

    Raises:
        ConfigError: If the name is unknown, or a setting does not fit the model or would have no effect.
        WeightsError: If the weights cannot be had, are no weights, or do not fit the model.
    """
    from autoft.backbones.building import build_backbone

    return build_backbone(config, pretrained=pretrained)


def rebuild(architecture: Json, *, seed: int = 0) -> "Backbone":
    """Return the backbone that a bundle describes, with weights still to be loaded; uses no network.

    Args:
        architecture: `Backbone.architecture` of the backbone that was built.
        seed: Decides the first weights, drawn as the model's library draws them for training from nothing.

    Raises:
        FormatError: If it describes no backbone that this version can build.
    """
    from autoft.backbones.building import rebuild_backbone

    return rebuild_backbone(architecture, seed=seed)


def __getattr__(name: str) -> object:
    if name == "Backbone":
        from autoft.backbones.backbone import Backbone

        return Backbone
    raise AttributeError(f"module 'autoft.backbones' has no attribute '{name}'")
