"""timm models: pictures to pooled features."""

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from autoft.backbones.backbone import Backbone, fixed_random_numbers, num_features, watched_paths
from autoft.backbones.layers import timm_groups, undecayed
from autoft.backbones.locate import locate
from autoft.backbones.tensors import map_weights, tensors_sha256
from autoft.backbones.timm_pooling import PooledTimm, pooled_timm
from autoft.backbones.timm_weights import create_loaded, timm_tensors
from autoft.core import catalog
from autoft.core.catalog import Entry
from autoft.core.errors import ConfigError, first_line
from autoft.core.jsonable import Json

_REFUSALS = (RuntimeError, AssertionError, ValueError, LookupError, TypeError)
"""What timm's models raise for a picture size that they cannot take."""
_KWARGS = ("drop_path_rate", "img_size")
"""All that `_kwargs` ever gives."""


def build_timm(entry: Entry, settings: Json) -> Backbone:
    """Return a timm model without its classifier.

    Args:
        entry: Of the catalog.
        settings: Every argument of the entry, checked.

    Raises:
        ConfigError: If the model cannot take the picture size, or has no path to drop.
        WeightsError: If the weights cannot be had or do not fit.
    """
    name, size = entry.name.removeprefix("timm:"), settings["input_size"]
    published = timm.get_pretrained_cfg(name) or PretrainedCfg()
    source = locate(settings)
    kwargs = _kwargs(entry, settings, published)
    tensors = timm_tensors(entry, source)
    with fixed_random_numbers():
        if tensors is None:
            module = timm.create_model(name, num_classes=0, **kwargs)
        else:
            module = create_loaded(entry, kwargs, tensors, source)
            if source.is_lasting:
                map_weights(module, tensors)
    is_pooled = entry.facts["pooled"]
    preprocessing = {"kind": "image", "size": size, "mean": list(published.mean), "std": list(published.std)}
    pooling = settings["pooling"]
    architecture = {"library": "timm", "name": name, "kwargs": kwargs, "pooled": is_pooled, "pooling": pooling}
    try:
        module = pooled_timm(entry.name, module, pooling, has_own=is_pooled, size=size).eval()
    except ConfigError:
        raise
    except _REFUSALS as error:
        raise _refused_size(entry, size, error) from error
    features = _check(entry, module, size=size, drop_path=settings["drop_path"])
    return Backbone(
        module=module,
        num_features=features,
        layer_groups=timm_groups(_encoder(module)),
        preprocessing=preprocessing,
        architecture={**architecture, "num_features": features, "preprocessing": preprocessing},
        weights={
            "source": source.description,
            "sha256": tensors_sha256(tensors if tensors is not None else _encoder(module).state_dict()),
        },
        **_parts(module),
    )


def rebuild_timm(architecture: Json, *, seed: int) -> Backbone:
    """Return the timm model that `architecture` describes, with first weights drawn from `seed`.

    Raises:
        ValueError: If the name is none of the catalog's, or a setting is none of ours: timm would take names of the
            hub and of folders, and arguments that make it load files or download them.
    """
    name, kwargs = architecture["name"], architecture["kwargs"]
    catalog.entry("backbone", f"timm:{name}")
    if foreign := sorted(set(kwargs) - set(_KWARGS)):
        raise ValueError(f"it has the setting {foreign[0]}, which autoft does not write")
    with fixed_random_numbers(seed):
        module = timm.create_model(name, num_classes=0, **kwargs)
    has_own, size = architecture["pooled"], architecture["preprocessing"]["size"]
    module = pooled_timm(name, module, architecture["pooling"], has_own=has_own, size=size).eval()
    return Backbone(
        module=module,
        num_features=architecture["num_features"],
        layer_groups=timm_groups(_encoder(module)),
        preprocessing=architecture["preprocessing"],
        architecture=architecture,
        weights={"source": "to be loaded", "sha256": None},
        **_parts(module),
    )


def _encoder(module: nn.Module) -> nn.Module:
    return module.encoder if isinstance(module, PooledTimm) else module


def _parts(module: nn.Module) -> Json:
    """Return what a `Backbone` says of parts of its module."""
    if not isinstance(module, PooledTimm):
        return {"no_decay": undecayed(module)}
    is_fresh = next(module.pooling.parameters(), None) is not None
    return {
        "no_decay": undecayed(module.encoder, prefix="encoder."),
        "pooling": module.pooling if is_fresh else None,
    }


def _kwargs(entry: Entry, settings: Json, published: PretrainedCfg) -> Json:
    """Return what is given to the model's constructor.

    Raises:
        ConfigError: If it cannot be built for the picture size.
    """
    size, kwargs = settings["input_size"], {}
    if entry.facts["drop_path"]:
        kwargs["drop_path_rate"] = settings["drop_path"]
    if published.fixed_input_size and tuple(published.input_size[1:]) != (size, size):
        kwargs["img_size"] = size
        try:
            with torch.device("meta"):
                timm.create_model(entry.name.removeprefix("timm:"), num_classes=0, **kwargs)
        except _REFUSALS as error:
            raise _refused_size(entry, size, error) from error
    return kwargs


def _check(entry: Entry, module: nn.Module, *, size: int, drop_path: float) -> int:
    """Return the number of features, found by a forward pass of one empty picture.

    Raises:
        ConfigError: If the picture's size is refused, or no path would be dropped.
    """
    with watched_paths(module) as called:
        try:
            features = num_features(module, torch.zeros(1, 3, size, size))
        except ConfigError:
            raise
        except _REFUSALS as error:
            raise _refused_size(entry, size, error) from error
    if drop_path > 0 and not called:
        raise ConfigError(
            f"{entry.name} skips no residual branch: drop_path would have no effect and must be 0, not {drop_path}."
        )
    return features


def _refused_size(entry: Entry, size: int, error: Exception) -> ConfigError:
    reason = first_line(error).rstrip(".")
    return ConfigError(
        f"{entry.name} cannot take pictures of input_size {size}: {reason}; its own is {entry.facts['input_size']}."
    )
