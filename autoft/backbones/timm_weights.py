"""Weights of timm models: read, given to timm to rename and resize, and checked for what it left out."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from autoft.backbones.fetch import fetch_timm
from autoft.backbones.fit import check_fit
from autoft.backbones.locate import packaged_name
from autoft.backbones.sources import PACKAGES, WeightsSource
from autoft.backbones.tensors import Tensors, read_tensors, renamed_in_order
from autoft.core.catalog import Entry
from autoft.core.errors import WeightsError
from autoft.core.jsonable import Json

_log = logging.getLogger(__name__)

_Names = Collection[str]


def timm_tensors(entry: Entry, source: WeightsSource) -> Tensors | None:
    """Return the tensors of a source, downloaded if need be; None for random weights.

    Raises:
        WeightsError: If they cannot be had, or are no weights.
    """
    if source.kind == "none":
        return None
    if source.path is None:
        return read_tensors(fetch_timm(entry))
    if source.kind == "package":
        return _packaged(entry, source.path)
    return read_tensors(source.path)


def _packaged(entry: Entry, path: Path) -> Tensors:
    package = PACKAGES[packaged_name(entry)]
    if not package.in_order:
        return read_tensors(path)
    with torch.device("meta"):
        model = timm.create_model(entry.name.removeprefix("timm:"))
    return renamed_in_order(path, model.state_dict(), distribution=package.distribution)


def create_loaded(entry: Entry, kwargs: Json, tensors: Tensors, source: WeightsSource) -> nn.Module:
    """Return the model without classifier, filled with `tensors`.

    Raises:
        WeightsError: If they do not fit. Of weights that timm itself publishes, what is left over is only logged.
    """
    name = entry.name.removeprefix("timm:")
    with _watched_load() as loads:
        try:
            module: nn.Module = timm.create_model(
                name,
                pretrained=True,
                pretrained_cfg_overlay={"state_dict": dict(tensors)},
                num_classes=0,
                **kwargs,
            )
        except (RuntimeError, LookupError, ValueError, AssertionError, AttributeError) as error:
            raise WeightsError(_mismatch(entry, source, error)) from error
    missing, unexpected = loads[-1]
    heads = _classifiers(name)
    unexpected = [key for key in unexpected if not key.startswith(heads)]
    if source.kind in ("hub", "cache"):
        if missing or unexpected:
            _log.warning("%s: %d tensors missing, %d not used.", entry.name, len(missing), len(unexpected))
    else:
        size = len(module.state_dict())
        check_fit(entry.name, source.description, num_tensors=size, missing=missing, unexpected=unexpected)
    return module


def _mismatch(entry: Entry, source: WeightsSource, error: Exception) -> str:
    """Return torch's list of mismatches as one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    shapes = [line for line in lines if line.startswith("size mismatch")]
    what = f"{len(shapes)} tensors have another shape, such as: {shapes[0]}" if shapes else lines[-1]
    return f"The weights ({source.description}) do not fit {entry.name}: {what}"


def _classifiers(name: str) -> tuple[str, ...]:
    """Return the beginnings of the names of a classifier's tensors; a person's own may have more layers."""
    published = timm.get_pretrained_cfg(name)
    names = (published.classifier if published is not None else None) or ()
    return tuple(f"{each}." for each in ((names,) if isinstance(names, str) else names))


@contextmanager
def _watched_load() -> Iterator[list[tuple[_Names, _Names]]]:
    """Give a list that fills with the (missing, unexpected) names of the weights that timm loads inside.

    For a model without classifier timm loads whatever fits and only logs the rest, at length. A hook on the parts of
    the model sees the names of the whole load, in lists that torch fills to its end.
    """
    loads: list[tuple[_Names, _Names]] = []
    handles: list[Any] = []

    def watch(_parent: nn.Module, _name: str, part: Any) -> None:
        if part is not None:
            handles.append(part.register_load_state_dict_post_hook(note))

    def note(_part: nn.Module, keys: Any) -> None:
        loads.append((keys.missing_keys, keys.unexpected_keys))

    handles.append(register_module_module_registration_hook(watch))
    logger = logging.getLogger("timm.models._builder")
    logger.addFilter(_is_no_list)
    try:
        yield loads
    finally:
        logger.removeFilter(_is_no_list)
        for handle in handles:
            handle.remove()


def _is_no_list(record: logging.LogRecord) -> bool:
    return "found while loading pretrained weights" not in record.getMessage()
