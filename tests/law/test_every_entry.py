"""Every entry of a recipe: it builds from its defaults, takes steps, survives a save and a load, and has an effect."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autoft.core import catalog
from autoft.core.catalog import Entry
from autoft.core.jsonable import Json
from autoft.core.recipe import BLOCKS
from tests.law.conftest import CONVOLUTIONS, IMAGE, TEXT, TRANSFORMER, Seen

CONTEXTS: dict[str, Json] = {
    "r_drop": {"head": {"name": "linear", "dropout": 0.2}},
    "progressive": {"backbone": CONVOLUTIONS | {"input_size": 128}},
    **{mode: {"backbone": TRANSFORMER} for mode in ("lora", "dora", "ia3")},
}
"""What an entry needs beside it."""
DEFAULTS = {"probe", "none", "shuffle", "fixed", "linear"}
KINDS = [kind for kind in BLOCKS if kind != "backbone"]
CASES = [
    pytest.param(entry, task, id=f"{task.partition('-')[0]} {section} {entry.name}")
    for section in KINDS
    for task in (IMAGE, TEXT)
    for entry in catalog.entries(BLOCKS[section].kind, task=task)
    if entry.name != "probe"
]


def recipe_with(entry: Entry | None, task: str, encoder: Path) -> Json:
    """Return a recipe whose section of the entry's kind is that entry at its defaults."""
    backbone = {"name": f"hf:{encoder}"} if task == TEXT else CONVOLUTIONS
    recipe: Json = {"backbone": backbone, "augmentation": {"name": "none"}, "batch_size": 8}
    if entry is None:
        return recipe
    section = next(name for name, block in BLOCKS.items() if block.kind == entry.kind)
    context = {
        name: value for name, value in CONTEXTS.get(entry.name, {}).items() if task == IMAGE or name != "backbone"
    }
    return recipe | context | {section: {BLOCKS[section].key: entry.name}}


@pytest.mark.parametrize(("entry", "task"), CASES)
def test_a_trial_with_it_that_is_cut_after_each_epoch_ends_as_one_that_is_not(
    entry: Entry, task: str, show: Callable[..., Seen], encoder: Path
) -> None:
    recipe = recipe_with(entry, task, encoder)
    whole = show(recipe, task=task)
    assert [result["status"] for result in whole] == ["running", "completed"]
    assert whole[0]["weights"] != whole[1]["weights"]
    assert show(recipe, task=task, cut=True) == whole


@pytest.mark.parametrize(("entry", "task"), CASES)
def test_its_line_of_documentation_says_what_it_is_and_whose(entry: Entry, task: str) -> None:
    assert entry.description.endswith(".")
    assert "\n" not in entry.description
    assert entry.source
    assert all(argument.description.endswith(".") for argument in entry.arguments)
