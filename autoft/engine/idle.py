"""Warm workers that have nothing to do for a moment: Ray Tune would end all of them but one."""

from collections.abc import Iterator
from typing import Any

from ray.tune.utils.object_cache import _ObjectCache


class IdleWorkers(_ObjectCache):  # type: ignore[misc]
    """Keeps each idle worker until a trial waits for resources that no idle worker has.

    Tune keeps as many as trials wait for, and one where none wait (ray 2.60, `_ObjectCache`). Here no trial waits
    whenever an answer is held back for its logical turn, or all are paused until one more has come to its rung; and a
    new worker costs seconds.
    """

    def cache_object(self, key: Any, obj: Any) -> bool:
        """Keep a worker, whatever waits now."""
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        """Yield the workers that are to end: all, where they may hold what a waiting trial asks for."""
        lacks = any(count > 0 and not self._cached_objects[key] for key, count in self._max_num_objects.items())
        if not force_all and not lacks:
            return
        for workers in self._cached_objects.values():
            while workers:
                self._num_cached_objects -= 1
                yield workers.pop(0)


def keep_idle_workers(tune_controller: Any) -> None:
    """Let a controller keep its idle workers; twice is no more than once."""
    former = tune_controller._actor_cache
    if not isinstance(former, IdleWorkers):
        kept = IdleWorkers()
        kept._max_num_objects.update(former._max_num_objects)
        tune_controller._actor_cache = kept
