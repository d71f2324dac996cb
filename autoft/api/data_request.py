"""The data of a search: where they lie, how they are read, and what of that a person may set."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoft.api.request import SEEDS
from autoft.core.configs import DataSpec
from autoft.core.errors import ConfigError, DataError, nearest
from autoft.core.paths import local_path
from autoft.core.storage import Store
from autoft.data.remote import fetched, is_address

_OPTION_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "input": ((str,), "the name of a column"),
    "drop_rare": ((bool,), "true or false"),
    "seed": ((int,), f"a whole number from 0 to {SEEDS - 1}"),
    "val_fraction": ((float, int), "a number between 0 and 1"),
    "test_fraction": ((float, int), "a number between 0 and 1"),
}


def refuse_within(store: Store, out: str | Path, source: Any) -> None:
    """Refuse a run folder inside a folder of data: the next reader would take it for a class.

    Raises:
        ConfigError: If it lies there.
    """
    if not isinstance(source, str | Path) or "://" in str(source) or not store.is_local:
        return
    folder, run = Path(os.path.realpath(local_path(source))), Path(os.path.realpath(store.path()))
    if folder.is_dir() and run.is_relative_to(folder):
        raise ConfigError(f"The output folder '{out}' lies in the data folder '{source}'; give one outside of it.")


def split_overrides(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the data, without their `data.`, and those of the space."""
    data = {key.removeprefix("data."): value for key, value in overrides.items() if key.startswith("data.")}
    return data, {key: value for key, value in overrides.items() if not key.startswith("data.")}


def data_spec(data: Any, val: Any, test: Any, **given: Any) -> DataSpec:
    """Return where data lie, as far as they are paths, with what else is given of a `DataSpec`."""

    def path(value: Any, name: str) -> str | None:
        if value is None or not isinstance(value, str | Path):
            return None
        text = str(value)
        if not text:
            raise DataError(f"The path of the {name} is empty.")
        return text if "://" in text else str(local_path(text))

    return DataSpec(source=path(data, "data"), val=path(val, "val data"), test=path(test, "test data"), **given)


def fetched_sources(scratch: Path, **sources: Any) -> dict[str, Any]:
    """Return data by name, in any form that `search` takes; those at an address as they are once fetched to `scratch`.

    Raises:
        DataError: If nothing lies at an address.
        WorkError: If it cannot be read.
    """
    return {name: fetched(source, scratch / name) if is_address(source) else source for name, source in sources.items()}


def with_options(spec: DataSpec, options: Mapping[str, Any]) -> DataSpec:
    """Return `spec` with what a person sets of it.

    Raises:
        ConfigError: If an option is unknown or its value not allowed.
    """
    allowed = ("input", "val_fraction", "test_fraction", "drop_rare", "seed")
    for name in options:
        if name not in allowed:
            raise ConfigError(
                f"Unknown option 'data.{name}'.{nearest(name, allowed)} Allowed: "
                f"{', '.join(f'data.{option}' for option in allowed)}."
            )
    for name, (allowed_types, wanted) in _OPTION_TYPES.items():
        if name not in options:
            continue
        value = options[name]
        if type(value) not in allowed_types or (name == "seed" and not 0 <= value < SEEDS):
            raise ConfigError(f"data.{name} must be {wanted}, not {value!r}.")
    return dataclasses.replace(spec, **options)
