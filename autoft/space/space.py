"""The search space: what may vary, and how, in one immutable object."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from autoft.core.configs import Budget
from autoft.core.jsonable import Json, canonical_json
from autoft.space.files import with_extended
from autoft.space.forbid import Forbidden, forbidden_json
from autoft.space.inverse import assignment_of
from autoft.space.narrow import narrowed_node, require_effect
from autoft.space.nodes import Node, Problems, to_node
from autoft.space.parse import Tree, parse_space
from autoft.space.plan import Assignment, Plan
from autoft.space.size import Size, size_of
from autoft.space.tree import Block, Parameter, Section
from autoft.space.yaml_text import dump_yaml


class SearchSpace:
    """Backbone, fine-tuning, augmentation, loss, optimizer, schedule and batch, each fixed or searched; immutable.

    Example:
        SearchSpace(
            task="image-classification",
            backbone=Choice(["timm:resnet18", {"name": "timm:resnet50", "drop_path": Uniform(0.0, 0.2)}]),
            optimizer={"name": "adamw", "lr": LogUniform(1e-5, 3e-3, prior=3e-4)},
            batch_size=Choice([16, 32]),
        )
    """

    __slots__ = ("_json", "_name", "_plan", "_tree")

    def __init__(
        self,
        *,
        task: str,
        name: str = "custom",
        description: str | None = None,
        budget: Budget | Mapping[str, int] | None = None,
        **sections: Any,
    ) -> None:
        """Check a space.

        Args:
            task: "image-classification", ...
            name: What the record calls it.
            description: One line for a reader.
            budget: Trials and epochs that it is made for.
            **sections: As the top-level keys of the YAML form: constants, maps, and domains, `forbid` and `extends`.

        Raises:
            SpaceError: With every mistake.
        """
        values: Json = {"task": task, **sections}
        if description is not None:
            values["description"] = description
        if isinstance(budget, Budget):
            budget = {key: n for key in ("trials", "epochs") if (n := getattr(budget, key)) is not None}
        if budget is not None:
            values["budget"] = budget
        problems = Problems()
        self._fill(parse_space(with_extended(to_node(values), problems), problems), name)

    def _fill(self, tree: Tree, name: str) -> None:
        self._tree = tree
        self._name = name
        self._plan: Plan = tree.plan
        self._json: Json = _tree_json(tree)

    @classmethod
    def from_node(
        cls,
        node: Node,
        *,
        name: str,
        task: str | None = None,
        narrowing: bool = False,
        recorded: bool = False,
        problems: Problems | None = None,
    ) -> Self:
        """Check a space that was read with its lines, of which `problems` were seen; see `parse_space`.

        Raises:
            SpaceError: With every mistake.
        """
        made = cls.__new__(cls)
        problems = Problems() if problems is None else problems
        made._fill(parse_space(node, problems, task=task, narrowing=narrowing, recorded=recorded), name)
        return made

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, name: str = "custom", where: str = "") -> Self:
        """Read the JSON form; `where` is what errors name beside the path.

        Raises:
            SpaceError: With every mistake.
        """
        problems = Problems()
        return cls.from_node(with_extended(to_node(values, where=where), problems), name=name, problems=problems)

    @classmethod
    def from_record(cls, values: Json, *, name: str = "custom") -> Self:
        """Read the JSON form of a space that was checked when it was recorded.

        What has become a rule since does not keep a run from being read.

        Raises:
            SpaceError: If it is no space.
        """
        return cls.from_node(to_node(values), name=name, recorded=True)

    def to_json(self) -> Json:
        """Return the JSON form, every section present; equal spaces give equal bytes."""
        return {key: _copied(value) for key, value in self._json.items()}

    def to_yaml(self) -> str:
        """Return the YAML form, which reads back as an equal space."""
        return dump_yaml(self._json)

    @property
    def task(self) -> str:
        """The task that it is for."""
        return self._tree.task

    @property
    def name(self) -> str:
        """Its shipped name, path, or "custom"."""
        return self._name

    @property
    def description(self) -> str:
        """What its author says of it."""
        return self._tree.description

    @property
    def budget(self) -> Budget:
        """Trials and epochs where the person gives none."""
        return self._tree.budget

    @property
    def sections(self) -> tuple[Section, ...]:
        """The tree."""
        return self._tree.sections

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that varies, in the order of the sections."""
        return self._plan.parameters

    def parameter(self, label: str) -> Parameter:
        """Return the parameter of that label.

        Raises:
            KeyError: If there is none.
        """
        return self._plan.by_label[label]

    @property
    def num_branches(self) -> int:
        """How many combinations of branches there are."""
        return math.prod(_num_branches(section) for section in self.sections if isinstance(section, Block))

    @property
    def size(self) -> Size:
        """How large it is: configurations, or continuous dimensions."""
        return size_of(self._plan)

    @property
    def forbidden(self) -> tuple[Forbidden, ...]:
        """Combinations that no draw holds."""
        return self._tree.forbidden

    def forbids(self, assignment: Mapping[str, Any]) -> Forbidden | None:
        """Return the first forbidden combination that an assignment holds, or None."""
        return self._plan.forbids(assignment)

    def sample(self, rng: np.random.Generator) -> Assignment:
        """Return an independent draw of what is not forbidden: label to value, of exactly the active parameters."""
        return self._plan.sample(rng)

    def default(self, fixed: Mapping[str, Any] | None = None) -> Assignment:
        """Return every default together: the prior, else the first of a choice or the middle of a range.

        Args:
            fixed: Values by label that are taken in place of defaults where their parameters are active.
        """
        return self._plan.default(fixed)

    def active(self, values: Mapping[str, Any]) -> Assignment:
        """Return the values of the active parameters alone, of a map that may hold all of them.

        Raises:
            SpaceError: If an active one is missing.
        """
        return self._plan.active(values)

    def validate(self, assignment: Mapping[str, Any]) -> None:
        """Refuse an assignment that has not exactly the active parameters, has a wrong value, or is forbidden.

        Raises:
            SpaceError: With all that is wrong.
        """
        self._plan.validate(assignment)

    def recipe(self, assignment: Mapping[str, Any]) -> Json:
        """Return the complete recipe of a valid assignment."""
        return self._plan.recipe(assignment)

    def assignment(self, recipe: Mapping[str, Any]) -> Assignment:
        """Return the assignment that gives a recipe; of branches that all could, the first.

        Raises:
            SpaceError: If this space cannot give it.
        """
        return assignment_of(self._plan, recipe)

    def backbones(self) -> list[Json]:
        """Return each backbone branch with its defaults, complete; equal ones once."""
        section = next(section for section in self.sections if section.name == "backbone")
        labels = [branch.label for branch in section.branches] if isinstance(section, Block) else []
        found: list[Json] = []
        for label in labels:
            backbone = self.recipe(self._plan.default({"backbone": label}))["backbone"]
            if backbone not in found:
                found.append(backbone)
        return found

    @property
    def column_names(self) -> tuple[str, ...]:
        """The leaderboard's columns, in order: the paths without their branches."""
        return tuple(dict.fromkeys(parameter.path for parameter in self.parameters))

    def columns(self, assignment: Mapping[str, Any]) -> Json:
        """Return path to value of what an assignment holds."""
        return {one.path: assignment[one.label] for one in self.parameters if one.label in assignment}

    def narrowed(self, overrides: Mapping[str, Any]) -> "SearchSpace":
        """Return the space with settings fixed or narrowed and branches picked.

        Args:
            overrides: Path to constant or domain. "optimizer.lr" changes every branch that has it,
                "optimizer[sgd].lr" one; "optimizer.name" picks a branch, or several by `Choice`.

        Raises:
            SpaceError: With every path that is not in the space and every value that is not allowed, or with every
                setting that conditions and the branches that are left never let be.
        """
        if not overrides:
            return self
        node = narrowed_node(to_node(self._json), self.sections, overrides)
        narrowed = SearchSpace.from_node(node, name=self.name, narrowing=True)
        require_effect(narrowed.sections, overrides)
        return narrowed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and canonical_json(self._json) == canonical_json(other._json)

    def __hash__(self) -> int:
        return hash(canonical_json(self._json))

    def __repr__(self) -> str:
        return f"SearchSpace({self.name!r}, task={self.task!r}, {len(self.parameters)} parameters)"

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_json, (self._json, self._name)


def _from_json(values: Json, name: str) -> SearchSpace:
    return SearchSpace.from_record(values, name=name)


def _tree_json(tree: Tree) -> Json:
    values: Json = {"task": tree.task}
    if tree.description:
        values["description"] = tree.description
    values["budget"] = {"trials": tree.budget.trials, "epochs": tree.budget.epochs}
    values |= {section.name: section.to_json() for section in tree.sections}
    return values | ({"forbid": forbidden_json(tree.forbidden)} if tree.forbidden else {})


def _num_branches(block: Block) -> int:
    return sum(math.prod(map(_num_branches, branch.blocks.values())) for branch in block.branches)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value
