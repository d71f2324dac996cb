"""What is known of Hugging Face models by their type: `hf_types.csv` and `hf_dropouts.csv`, and a model's own config.

Both tables are written by `python -m autoft.backbones.facts` from the installed transformers (see
`autoft.backbones.hf_facts`). What stands in a model's config.json goes before the default of its type.
"""

import csv
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from autoft.core.jsonable import Json

TYPES_TABLE = Path(__file__).with_name("hf_types.csv")
TYPES_COLUMNS = (
    *("model_type", "input", "image_size", "patch_size", "grid", "fixed_size", "drop_path", "batch_norms"),
    *("linears", "attention_linears"),
)
DROPOUTS_TABLE = Path(__file__).with_name("hf_dropouts.csv")
DROPOUTS_COLUMNS = ("model_type", "setting", "default")

DEFAULT_INPUT_SIZE = 224
_WINDOWED = {"swin": (7, 4), "donut-swin": (7, 4)}
"""Types whose windows must fit into the places of the last stage: a window's side, and stages, by default."""


def input_of(model_type: str) -> str | None:
    """Return what models of a type read, "image" or "text"; None where that is not known, or both."""
    row = _types().get(model_type)
    return None if row is None else row["input"]


def dropouts_of(model_type: str) -> dict[str, float] | None:
    """Return the settings that make passes in training random, with their defaults; None where they are not known."""
    rows = _dropouts().get(model_type)
    return None if rows is None else {row["setting"]: float(row["default"]) for row in rows if row["setting"]}


def facts_of(model_type: str, config: Json) -> Json:
    """Return the facts of a model, as timm's have them; what is not known is left out.

    Of pictures `input_size`, `smallest` (the least side that it takes), `multiple_of` (what the side must be a
    multiple of), `one_size` (it takes no other), `fixed_size` (no smaller one), and `drop_path`; of all `dropout`, the
    largest rate of its own, and of `linears`, `attention_linears` and `batch_norms` each that it has none of.

    Args:
        model_type: As transformers calls it.
        config: Of its config.json what `folders.read_config` gives; settings that it does not hold are the type's.
    """
    row = _types().get(model_type, {})
    facts: Json = {name: 0 for name in ("linears", "attention_linears", "batch_norms") if row.get(name) == "0"}
    rates = dropouts_of(model_type)
    if rates is not None:
        facts["dropout"] = max((float(config.get(name, rate)) for name, rate in rates.items()), default=0.0)
    if row.get("input") == "image":
        facts["input_size"] = _size(config, row)
        facts |= _of_pictures(model_type, config, row, facts["input_size"])
    return facts


def _of_pictures(model_type: str, config: Json, row: dict[str, str], size: int) -> Json:
    if not row["grid"]:
        return {}
    facts: Json = {
        "fixed_size": row["fixed_size"] == "1",
        "one_size": row["grid"] == "own",
        "drop_path": row["drop_path"] == "1",
    }
    patch = config.get("patch_size", row["patch_size"] or 1)
    grid = int(patch if row["grid"] == "patch" else row["grid"]) if row["grid"] != "own" else 1
    if grid > 1 and size % grid == 0:
        facts["multiple_of"] = grid
    if model_type in _WINDOWED:
        window, stages = _WINDOWED[model_type]
        stages = config.get("depths", stages)
        facts["smallest"] = config.get("window_size", window) * int(patch) * 2 ** (stages - 1)
    return facts


def _size(config: Json, row: dict[str, str]) -> int:
    return int(config.get("image_size", row["image_size"] or DEFAULT_INPUT_SIZE))


def used(config: Json) -> Json:
    """Return what `facts_of` and entries need of a config.json: sizes, the number of stages, and rates of dropping."""
    found: Json = {}
    for name in ("image_size", "max_position_embeddings", "patch_size", "window_size"):
        value = config.get(name)
        side = value[0] if isinstance(value, list) and value and value.count(value[0]) == len(value) else value
        if type(side) is int:
            found[name] = side
    depths = config.get("depths")
    if isinstance(depths, list) and depths:
        found["depths"] = len(depths)
    elif type(depths) is int:
        found["depths"] = depths  # What this function gave before.
    return found | dict(_rates(config))


def _rates(config: Json) -> Iterator[tuple[str, float]]:
    for name in dropouts_of(str(config["model_type"])) or ():
        given: Any = config.get(name)
        rates = given if isinstance(given, list) else [given]
        if rates and all(isinstance(rate, int | float) and not isinstance(rate, bool) for rate in rates):
            yield name, max(rates)


@cache
def _types() -> dict[str, dict[str, str]]:
    return {row["model_type"]: row for row in table(TYPES_TABLE)}


@cache
def _dropouts() -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    for row in table(DROPOUTS_TABLE):
        rows.setdefault(row["model_type"], []).append(row)
    return rows


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, whose first line says in a comment what it was made from."""
    with path.open(encoding="utf-8", newline="") as file:
        file.readline()
        return list(csv.DictReader(file))
