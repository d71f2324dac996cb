"""Tasks: from raw rows to model inputs, the head on the features, the loss, the prediction."""

from autoft.core import catalog
from autoft.tasks.classification import Classification
from autoft.tasks.inputs import Decode, Inputs, build_inputs
from autoft.tasks.network import LinearHead, Network, state_hash

__all__ = [
    "Classification",
    "Decode",
    "Inputs",
    "LinearHead",
    "Network",
    "build_inputs",
    "get_task",
    "state_hash",
]


def get_task(name: str) -> Classification:
    """Return the task of that name.

    Raises:
        ConfigError: If the catalog has no such task.
    """
    task = catalog.entry("task", name).load()()
    if not isinstance(task, Classification):
        raise TypeError(f"The catalog's target of task '{name}' builds a {type(task).__name__}, which is no task.")
    return task
