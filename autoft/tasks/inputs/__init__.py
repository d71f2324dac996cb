"""Raw rows to model inputs: encode once, batch by indices, finish on the device."""

from collections.abc import Mapping
from typing import Any

from autoft.core.errors import FormatError
from autoft.tasks.inputs.base import Decode, Inputs
from autoft.tasks.inputs.images import ImageInputs
from autoft.tasks.inputs.texts import TextInputs

__all__ = ["Decode", "ImageInputs", "Inputs", "TextInputs", "build_inputs"]


def build_inputs(preprocessing: Mapping[str, Any]) -> Inputs:
    """Return the inputs of a backbone's preprocessing.

    Raises:
        FormatError: If its `kind` is not known.
    """
    if preprocessing["kind"] == "image":
        return ImageInputs(preprocessing)
    if preprocessing["kind"] == "text":
        return TextInputs(preprocessing)
    raise FormatError(f"Unknown kind '{preprocessing['kind']}' of preprocessing. Allowed: 'image' or 'text'.")
