"""Hugging Face encoders: which kind a model is, its configuration and its weights."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as hf_logging

from autoft.backbones.backbone import Backbone, fixed_random_numbers
from autoft.backbones.fetch import fetch_hf
from autoft.backbones.fit import check_fit
from autoft.backbones.hf_text import TextBuilder
from autoft.backbones.hf_vision import VisionBuilder
from autoft.backbones.layers import undecayed
from autoft.backbones.locate import locate, model_files
from autoft.backbones.sources import WeightsSource
from autoft.backbones.tensors import Tensors, map_weights, read_tensors, tensors_sha256
from autoft.core.catalog import Entry
from autoft.core.errors import ConfigError, WeightsError, first_line
from autoft.core.jsonable import Json

_log = logging.getLogger(__name__)

Builder = TextBuilder | VisionBuilder

_NAMES_OF_CODE = ("auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Where a configuration may name code that transformers would fetch."""


def build_hf(entry: Entry, settings: Json) -> Backbone:
    """Return a Hugging Face encoder with pooled features.

    Args:
        entry: Of the catalog.
        settings: Every argument of the entry, checked.

    Raises:
        ConfigError: If it is no encoder of pictures or texts, or a setting does not fit it.
        WeightsError: If the weights cannot be had or do not fit.
    """
    source = locate(settings)
    folder = _folder(entry, source)
    config = _read_config(entry, folder)
    builder = _builder(entry.name, config)
    builder.configure(config, settings, folder)
    tensors = None if source.kind == "none" else read_tensors(source.path or folder)
    with fixed_random_numbers():
        encoder = _empty(builder, config) if tensors is None else _filled(builder, config, tensors, source.description)
    if tensors is not None and source.is_lasting:
        map_weights(encoder, tensors)
    module = builder.wrap(encoder).eval()
    features = builder.check(module)
    return Backbone(
        module=module,
        num_features=features,
        layer_groups=builder.layer_groups(module),
        preprocessing=builder.preprocessing(),
        architecture={
            "library": "transformers",
            "name": entry.name.removeprefix("hf:"),
            "config": _plain(config),
            "num_features": features,
            "settings": builder.settings(),
            "preprocessing": builder.preprocessing(),
        },
        weights={
            "source": source.description,
            "sha256": tensors_sha256(tensors if tensors is not None else encoder.state_dict()),
        },
        **_parts(builder, module),
    )


def rebuild_hf(architecture: Json, *, seed: int) -> Backbone:
    """Return the encoder that `architecture` describes, with first weights drawn from `seed`."""
    values = {key: value for key, value in architecture["config"].items() if key not in _NAMES_OF_CODE}
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    builder = _builder(str(architecture["name"]), config)
    builder.restore(architecture["settings"], architecture["preprocessing"])
    with fixed_random_numbers(seed):
        module = builder.wrap(_empty(builder, config)).eval()
    return Backbone(
        module=module,
        num_features=architecture["num_features"],
        layer_groups=builder.layer_groups(module),
        preprocessing=architecture["preprocessing"],
        architecture=architecture,
        weights={"source": "to be loaded", "sha256": None},
        **_parts(builder, module),
    )


def _parts(builder: Builder, module: nn.Module) -> Json:
    """Return what a `Backbone` says of parts of its module."""
    return {
        "no_decay": undecayed(module.get_submodule("encoder"), prefix="encoder."),
        "pooling": builder.pooling(module),
        "embeddings": builder.embeddings(module),
    }


def _folder(entry: Entry, source: WeightsSource) -> Path:
    """Return the folder of configuration and tokenizer."""
    files = model_files(entry, source)
    return files.path if files.path is not None else fetch_hf(str(entry.facts["hub"]), weights=source.kind == "hub")


def _read_config(entry: Entry, folder: Path) -> PreTrainedConfig:
    try:
        # Code that a repository brings along is never run.
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        reason = first_line(error)
        raise ConfigError(f"{entry.name} is no model that the installed transformers knows: {reason}") from error
    config.dtype = torch.float32
    return config


def _builder(name: str, config: PreTrainedConfig) -> Builder:
    if type(config) not in MODEL_MAPPING or getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"{name} is of type '{config.model_type}', which is no encoder of pictures or texts.")
    reads = _model_class(config).main_input_name
    if reads == "pixel_values":
        return VisionBuilder(name)
    if reads == "input_ids":
        return TextBuilder(name)
    raise ConfigError(f"{name} reads {reads}, neither pictures nor texts alone.")


def _model_class(config: PreTrainedConfig) -> Any:
    found = MODEL_MAPPING[type(config)]
    # A few types map to several classes; the first is the plain one.
    return found[0] if isinstance(found, tuple) else found


def _empty(builder: Builder, config: PreTrainedConfig) -> nn.Module:
    pooler = builder.pooler_arguments(_model_class(config), config)
    encoder: nn.Module = AutoModel.from_config(config, trust_remote_code=False, **pooler)
    return encoder.float()


def _filled(builder: Builder, config: PreTrainedConfig, tensors: Tensors, source: str) -> nn.Module:
    model = _model_class(config)
    with _quiet():
        try:
            encoder, info = model.from_pretrained(
                None,
                config=config,
                state_dict=dict(tensors),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **builder.pooler_arguments(model, config),
            )
        except (RuntimeError, ValueError, LookupError) as error:
            reason = first_line(error)
            raise WeightsError(f"The weights ({source}) do not fit {builder.name}: {reason}") from error
    mismatched = {str(item[0] if isinstance(item, tuple) else item) for item in info["mismatched_keys"]}
    parts = tuple(f"{part}." for part, _ in encoder.named_children())
    prefix = f"{encoder.base_model_prefix}."
    # Other heads and old constant buffers are no part of an encoder.
    unexpected = [
        key
        for key in info["unexpected_keys"]
        if key.removeprefix(prefix).startswith(parts) and not key.endswith("position_ids")
    ]
    check_fit(
        builder.name,
        source,
        num_tensors=len(encoder.state_dict()),
        missing={*info["missing_keys"], *mismatched},
        unexpected=unexpected,
    )
    filled: nn.Module = encoder.float()
    return filled


def _plain(config: PreTrainedConfig) -> Json:
    """Return the configuration as JSON, without paths and without names of code to be fetched."""
    values: Json = json.loads(config.to_json_string(use_diff=False))
    values["model_type"] = config.model_type
    for key in ("_name_or_path", "transformers_version", *_NAMES_OF_CODE):
        values.pop(key, None)
    return values


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' loading bar, and its table of differences, which `check_fit` says in one sentence."""
    logger, shown = logging.getLogger("transformers.modeling_utils"), hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    logger.addFilter(_is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)
        if shown:
            hf_logging.enable_progress_bar()


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()
