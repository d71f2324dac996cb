"""The law: whatever a shipped space searches changes what a trial does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autoft.core.jsonable import Json, canonical_json, merged
from autoft.space import Choice, SearchSpace, load_space, shipped_spaces
from autoft.space.tree import Parameter
from tests.law.conftest import CONVOLUTIONS, IMAGE, TRANSFORMER, Seen

STILL: Json = {"optimizer": {"name": "sgd", "lr": 1e-9, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}}
"""No epoch is better than the first."""
CONTEXTS: dict[str, Json] = {
    "patience": STILL,
    "clip_norm": {"optimizer": {"name": "sgd", "lr": 3.0}},
    "finetune[partial].frozen_groups": {"backbone": TRANSFORMER},
    "schedule": {"epochs": 4},
    "schedule[plateau]": {**STILL, "epochs": 5},
    "finetune[gradual].unfreeze_fraction": {"epochs": 4},
    "resizing": {"backbone": {"input_size": 128}, "epochs": 4},
    "regularization[r_drop]": {"head": {"dropout": 0.2}},
}
"""What else a setting needs to show what it does, by the beginning of its label; the longest counts."""
ADAPTERS = ("lora", "dora", "ia3")


@dataclass(frozen=True, slots=True)
class Case:
    """One parameter of a space, and two of its values."""

    space: SearchSpace
    parameter: Parameter
    values: tuple[Any, Any]

    @property
    def key(self) -> str:
        """What it asks, less the names of backbones, which are all replaced by tiny ones."""
        label = "backbone." + self.parameter.label.rpartition(".")[2] if self.in_backbone else self.parameter.label
        return f"{self.space.task.partition('-')[0]} {label} {self.values[0]!r} {self.values[1]!r}"

    @property
    def in_backbone(self) -> bool:
        """Whether it is a setting of a backbone."""
        return self.parameter.label.startswith("backbone[") or self.parameter.label.startswith("backbone.")


def cases() -> Iterator[Case]:
    """Yield each value of each choice beside the first, and both ends of each range, of every shipped space."""
    seen: set[str] = set()
    for space in map(load_space, shipped_spaces()):
        for parameter in space.parameters:
            if parameter.label == "backbone":
                continue
            domain = parameter.domain
            others = domain.values[1:] if isinstance(domain, Choice) else (domain.at(1.0),)
            first = domain.values[0] if isinstance(domain, Choice) else domain.at(0.0)
            for other in others:
                case = Case(space, parameter, (first, other))
                if case.key not in seen:
                    seen.add(case.key)
                    yield case


def recipe_of(case: Case, value: Any, encoder: Path, pretrained: Json) -> tuple[Json, int]:
    """Return the recipe with that value and all else at its default, on a tiny backbone, and its epochs."""
    parameter = case.parameter
    assignment = case.space.default({**_allowed(case), parameter.label: value})
    assert assignment.get(parameter.label) == value
    recipe = case.space.recipe(assignment)
    settings = recipe["backbone"] if case.in_backbone else {}
    recipe["backbone"] = _tiny(case, recipe, encoder, pretrained) | {
        name: setting for name, setting in settings.items() if name not in ("name", "weights")
    }
    if parameter.label != "batch_size":
        recipe["batch_size"] = 8
    return _in_context(case, recipe)


def _allowed(case: Case) -> Json:
    """Return the branches around a parameter, and a mode in which it exists and the space forbids neither value."""
    around = _branches_of(case.space, case.parameter)
    for fixed in (around, {**around, "finetune": "full"}):
        made = [case.space.default({**fixed, case.parameter.label: value}) for value in case.values]
        is_active = all(case.parameter.label in assignment for assignment in made)
        if is_active and all(case.space.forbids(assignment) is None for assignment in made):
            return fixed
    raise AssertionError(f"{case.key} is forbidden in every mode.")


def _branches_of(space: SearchSpace, parameter: Parameter) -> Json:
    """Return the branches within which a parameter exists, those around them included."""
    found: Json = {}
    for condition in parameter.conditions:
        found |= _branches_of(space, space.parameter(condition.label)) | {condition.label: condition.values[0]}
    return found


def _tiny(case: Case, recipe: Json, encoder: Path, pretrained: Json) -> Json:
    if case.space.task != IMAGE:
        return {"name": f"hf:{encoder}"}
    if case.key.startswith("image backbone.batch_norm "):
        return pretrained  # Random weights come with no statistics.
    return TRANSFORMER if recipe["finetune"]["mode"] in ADAPTERS else CONVOLUTIONS


def _in_context(case: Case, recipe: Json) -> tuple[Json, int]:
    label = case.parameter.label
    found = max((start for start in CONTEXTS if label.startswith(start)), key=len, default=None)
    context = dict(CONTEXTS[found]) if found is not None else {}
    epochs = context.pop("epochs", 2)
    for section, settings in context.items():
        if case.space.task != IMAGE and section == "backbone":
            continue
        names_other = settings.get("name", recipe[section]["name"]) != recipe[section]["name"]
        recipe[section] = settings if names_other else merged(recipe[section], settings)
    return recipe, epochs


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.key)
def test_two_trials_that_differ_in_one_setting_differ(
    case: Case, show: Callable[..., Seen], encoder: Path, deep_encoder: Path, pretrained: Json
) -> None:
    needed = deep_encoder if case.parameter.label.startswith("finetune[partial]") else encoder
    one, other = (recipe_of(case, value, needed, pretrained) for value in case.values)
    assert canonical_json(one[0]) != canonical_json(other[0])
    first, second = (show(recipe, task=case.space.task, epochs=epochs) for recipe, epochs in (one, other))
    assert first != second


@pytest.mark.parametrize("name", shipped_spaces())
def test_the_backbones_of_a_space_are_different_ones(name: str) -> None:
    names = [backbone["name"] for backbone in load_space(name).backbones()]
    assert len(set(names)) == len(names)
