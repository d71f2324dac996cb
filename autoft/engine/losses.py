"""A lost worker, as Ray Tune tells of it."""

import re
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial

from autoft.engine.job import LOW_MEMORY

REASON_CHARACTERS = 200
_NUMBER = re.compile(r"\b[0-9a-f]{32,}\b")
"""Ray's own of an actor or a node."""


def take_every_loss(tune_controller: Any) -> None:
    """Make Tune take every way in which a worker may be lost as a lost worker; twice is no more than once.

    Its actor manager knows the death of an actor alone (ray 2.60, RayActorManager._actor_task_failed). What else Ray
    raises, such as OutOfMemoryError where its monitor ends a worker because the machine runs short of memory, would
    end the whole search as an unexpected exception.
    """
    manager = tune_controller._actor_manager
    if "_actor_task_failed" in vars(manager):
        return
    failed = manager._actor_task_failed

    def task_failed(tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        failed(tracked_actor_task=tracked_actor_task, exception=exception)

    manager._actor_task_failed = task_failed


def why_lost(trial: Trial) -> str:
    """Return the first line of what Ray says of a lost worker; of one cause in the same words, to be counted."""
    path = Path(trial.error_file) if trial.error_file else None
    if path is None or not path.exists():
        return "Ray gives no reason"
    last = path.read_text(errors="replace").rpartition("Failure #")[2]
    lines = [" ".join(_NUMBER.sub("", line).split()) for line in last.splitlines()[1:] if line.strip()]
    for line in lines:
        if told := line.partition("WorkerLostError: ")[2]:  # of one of several workers; see `spread`
            return told
    if any("running low on memory" in line for line in lines):
        return LOW_MEMORY
    return lines[0][:REASON_CHARACTERS] if lines else "Ray gives no reason"
