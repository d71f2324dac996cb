"""Picture encoders of Hugging Face: pictures to pooled features."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from autoft.backbones.backbone import LayerGroups, num_features, watched_paths
from autoft.backbones.hf_text import takes
from autoft.backbones.layers import batch_norms, groups_by_name
from autoft.core.entries.backbones import DEFAULT_MAX_LENGTH
from autoft.core.entries.hf_types import facts_of
from autoft.core.errors import ConfigError, first_line
from autoft.core.jsonable import Json

_log = logging.getLogger(__name__)

_TEXT_DEFAULTS: Json = {"max_length": DEFAULT_MAX_LENGTH, "pooling": "mean", "dropout": None}


class VisionEncoder(nn.Module):
    """An encoder whose states are pooled to one vector: by its own pooler, else its class token, else the mean.

    For pictures of another size than the pretrained one positions are stretched, where the encoder does that only
    when it is asked to.

    Args:
        encoder: From pictures (B, 3, S, S) to states (B, T, F) or (B, F, H, W).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.own_size = own_size(encoder.config)
        self.asks = takes(encoder.forward, "interpolate_pos_encoding")
        self.has_class_token = any(name.endswith("cls_token") for name, _ in encoder.named_parameters())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, F) of normalised pictures."""
        outputs = self.outputs(images_BCHW)
        pooled: Tensor | None = getattr(outputs, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        states: Tensor = outputs.last_hidden_state
        if states.ndim == 4:
            return states.mean(dim=(2, 3))
        return states[:, 0] if self.has_class_token else states.mean(dim=1)

    def outputs(self, images_BCHW: Tensor) -> Any:
        """Return what the encoder gives for normalised pictures."""
        if self.asks and images_BCHW.shape[-1] != self.own_size:
            return self.encoder(images_BCHW, interpolate_pos_encoding=True)
        return self.encoder(images_BCHW)


def own_size(config: Any) -> int | None:
    """Return the side of the square pictures that a configuration is for; None where it says none."""
    return square(getattr(config, "image_size", None))


def square(size: Any) -> int | None:
    """Return the side that a configuration gives as one number or twice; None for anything else."""
    if isinstance(size, list | tuple):
        return size[0] if len(set(size)) == 1 else None
    return size if isinstance(size, int) else None


def set_rate(config: PreTrainedConfig, name: str, rate: float) -> None:
    """Set a rate of dropping, or those of all stages where there is a list of them."""
    own = getattr(config, name)
    new = [rate] * len(own) if isinstance(own, list | tuple) else rate
    # Some types take whole numbers alone, and have 0.
    if new != own:
        setattr(config, name, new)


class VisionBuilder:
    """Fits a Hugging Face encoder of pictures to the settings of a recipe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._drop_path = 0.0
        self._batch_norm = "pretrained"
        self._preprocessing: Json = {}

    def configure(self, config: PreTrainedConfig, settings: Json, folder: Path) -> None:
        """Take the settings over into `config`, and read the normalisation from `folder`.

        Raises:
            ConfigError: If a setting does not fit a picture encoder.
        """
        for key, default in _TEXT_DEFAULTS.items():
            if settings.get(key, default) != default:
                raise ConfigError(f"{self.name} reads pictures: it has no setting '{key}'.")
        self._drop_path, self._batch_norm = settings["drop_path"], settings["batch_norm"]
        has_rate = hasattr(config, "drop_path_rate")
        if self._drop_path > 0 and not (has_rate and facts_of(config.model_type, {}).get("drop_path", True)):
            raise ConfigError(
                f"{self.name} has no residual branch that can be skipped: drop_path must be 0, not {self._drop_path}."
            )
        if has_rate:
            set_rate(config, "drop_path_rate", self._drop_path)
        mean, std = self._normalisation(folder)
        self._preprocessing = {"kind": "image", "size": settings["input_size"], "mean": mean, "std": std}

    def restore(self, settings: Json, preprocessing: Json) -> None:
        """Take the state of `settings` and `preprocessing` back."""
        self._preprocessing = preprocessing

    def settings(self) -> Json:
        """Return what `restore` needs besides the preprocessing."""
        return {}

    def preprocessing(self) -> Json:
        """Return the backbone's preprocessing."""
        return self._preprocessing

    def pooler_arguments(self, model: type[nn.Module], config: PreTrainedConfig) -> Json:
        """Return the argument that leaves out a dense pooler: pretraining seldom gives it weights."""
        if not takes(model.__init__, "add_pooling_layer"):
            return {}
        with torch.device("meta"):
            pooler = getattr(AutoModel.from_config(config, trust_remote_code=False), "pooler", None)
        is_dense = pooler is not None and any(isinstance(part, nn.Linear) for part in pooler.modules())
        return {"add_pooling_layer": False} if is_dense else {}

    def wrap(self, encoder: nn.Module) -> nn.Module:
        """Return the module from pictures to features."""
        return VisionEncoder(encoder)

    def check(self, module: nn.Module) -> int:
        """Return the number of features.

        Raises:
            ConfigError: If the encoder cannot read pictures of the size, drops no path, or has no batch norms.
        """
        size = self._preprocessing["size"]
        with watched_paths(module) as called:
            try:
                features = num_features(module, torch.zeros(1, 3, size, size))
            except (RuntimeError, ValueError, LookupError) as error:
                reason = first_line(error)
                raise ConfigError(f"{self.name} cannot take pictures of input_size {size}: {reason}") from error
        if self._drop_path > 0 and not called:
            raise ConfigError(
                f"{self.name} skips no residual branch: drop_path would have no effect and must be 0, "
                f"not {self._drop_path}."
            )
        if self._batch_norm != "pretrained" and not batch_norms(module):
            raise ConfigError(f"{self.name} has no batch norms: batch_norm must be pretrained, not {self._batch_norm}.")
        return features

    def layer_groups(self, module: nn.Module) -> LayerGroups:
        """Return the embeddings, each layer or block, and what follows."""
        return groups_by_name(module.get_submodule("encoder").named_parameters(), nested=True)

    def pooling(self, module: nn.Module) -> nn.Module | None:
        """Return None: nothing in it is fresh."""
        return None

    def embeddings(self, module: nn.Module) -> nn.Module | None:
        """Return None: it reads no tokens."""
        return None

    def _normalisation(self, folder: Path) -> tuple[list[float], list[float]]:
        path = folder / "preprocessor_config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            mean, std = values["image_mean"], values["image_std"]
        except (OSError, ValueError, LookupError, TypeError):
            _log.warning("%s says no image_mean and image_std in preprocessor_config.json: 0.5 is taken.", self.name)
            return [0.5] * 3, [0.5] * 3
        return [float(value) for value in mean], [float(value) for value in std]
