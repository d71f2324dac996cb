"""Spaces by name or path: those that ship, and files."""

from pathlib import Path

from autoft.core.errors import SpaceError
from autoft.space.files import read_space
from autoft.space.nodes import Problems
from autoft.space.space import SearchSpace


def load_space(space: str | Path | SearchSpace, task: str | None = None) -> SearchSpace:
    """Return a space by its shipped name or its path, checked whole; a `SearchSpace` as it is.

    Args:
        space: "image-classification/quick", a path of a YAML or JSON file, or a space.
        task: The task of the data; a space of another is refused, and one that names none takes it.

    Raises:
        SpaceError: With every mistake, each with file and line.
    """
    if isinstance(space, SearchSpace):
        if task is not None and space.task != task:
            raise SpaceError([f"The space '{space.name}' is for {space.task}, but the data are for {task}."])
        return space
    name = str(space)
    problems = Problems()
    return SearchSpace.from_node(read_space(name, problems), name=name, task=task, problems=problems)
