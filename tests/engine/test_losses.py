from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.air.execution import FixedResourceManager
from ray.air.execution._internal import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError

from autoft.engine.losses import take_every_loss, why_lost


@pytest.mark.parametrize("error", [OutOfMemoryError("running low on memory"), NodeDiedError("its node is gone")])
def test_whatever_takes_a_worker_away_is_a_lost_worker_to_tune(error: Exception) -> None:
    manager = RayActorManager(FixedResourceManager({"CPU": 1.0}))
    lost: list[Exception] = []
    worker = TrackedActor(1, on_error=lambda worker, error: lost.append(error))
    manager._live_actors_to_ray_actors_resources[worker] = (None, None)
    manager._resource_manager.free_resources = lambda acquired_resource: None
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        manager._actor_task_failed(TrackedActorTask(worker), error)
    for _ in range(2):
        take_every_loss(SimpleNamespace(_actor_manager=manager))
    manager._actor_task_failed(TrackedActorTask(worker), error)
    assert [type(error) for error in lost] == [RayActorError]
    assert str(lost[0]) == f"{type(error).__name__}: {error}"


def test_a_want_of_memory_is_told_in_the_same_words_whatever_the_numbers(tmp_path: Path) -> None:
    texts = {
        "ray.exceptions.OutOfMemoryError: 1 worker(s) were killed due to the node running low on memory: 22.95GB": (
            "the machine ran low on memory, and Ray ended the process"
        ),
        "The actor died unexpectedly before finishing this task.\n\tclass_name: X": (
            "The actor died unexpectedly before finishing this task."
        ),
        f"The actor {'5370efc6' * 4} is unavailable: Socket closed.": "The actor is unavailable: Socket closed.",
        "ray::TrialWorker.train()\n  raise Lost('running low on memory')\nautoft.x.WorkerLostError: one was lost": (
            "one was lost"
        ),
        "": "Ray gives no reason",
    }
    for text, reason in texts.items():
        (tmp_path / "error.txt").write_text(f"Failure # 1 (occurred at 1:00)\nfirst\nFailure # 2 (now)\n{text}")
        assert why_lost(SimpleNamespace(error_file=str(tmp_path / "error.txt"))) == reason
    assert why_lost(SimpleNamespace(error_file=None)) == "Ray gives no reason"
