"""`space check`: a space, and the local weights that it names."""

from collections.abc import Iterator

from autoft.backbones import check_weights
from autoft.core.errors import SpaceError, WeightsError
from autoft.space import SearchSpace, load_space
from autoft.space.files import read_space
from autoft.space.nodes import Problems, place
from autoft.space.weights import named_weights


def check_space(space: str, *, task: str | None = None) -> SearchSpace:
    """Return a space by its shipped name or its path, whose local weights are on this machine.

    Args:
        space: "image-classification/quick", or a path of a YAML or JSON file.
        task: For a space that does not say its own.

    Raises:
        SpaceError: With every mistake, each with file and line.
    """
    missing = list(_missing_weights(space))
    try:
        loaded = load_space(space, task=task)
    except SpaceError as error:
        raise SpaceError([*error.problems, *missing]) from error
    if missing:
        raise SpaceError(missing)
    return loaded


def _missing_weights(space: str) -> Iterator[str]:
    """Yield a sentence for each path of weights that cannot be had; a path starts from the working folder."""
    try:
        root = read_space(space, Problems())
    except SpaceError:  # there is no such space, or its text cannot be read: who loads it says so
        return
    for name, node in named_weights(root):
        try:
            check_weights(node.value, name or "the backbone")
        except WeightsError as error:
            yield f"{place('backbone.weights', node)}: {error}"
