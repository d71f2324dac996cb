"""Which checkpoints stay: the best of the leading trials, and the state of unfinished ones; and what is swept."""

from collections.abc import Collection

from autoft.core.storage import Store

FOLDER = "checkpoints"
LAST = "last.safetensors"
"""The state to go on from."""
BUNDLE = "best"


class Keeper:
    """Removes the checkpoints that nobody will ask for again, each once, with as few requests as can be."""

    def __init__(self, store: Store) -> None:
        """Keep the checkpoints of the run in the folder `store`."""
        self._store = store
        self._removed: set[str] | None = None
        """Trials that have none; None: not yet looked at."""
        self._trimmed: set[str] = set()

    def prune(self, *, leading: Collection[str], finished: Collection[str]) -> None:
        """Remove what is needless.

        Args:
            leading: Finished trials whose best state stays; the state to go on from is removed.
            finished: Trials that go on no more; those that do not lead keep nothing.
        """
        if self._removed is None:
            self._removed = set(finished) - set(self._store.list(FOLDER))
        for trial in sorted(set(finished) - set(leading) - self._removed):
            self._store.delete_folder(f"{FOLDER}/{trial}")
            self._removed.add(trial)
        for trial in sorted(set(leading) - self._trimmed):
            self._store.delete_files(f"{FOLDER}/{trial}/{LAST}")
            self._trimmed.add(trial)


def sweep(store: Store) -> None:
    """Remove what workers and drivers that were killed left half-written on a disk; no worker may be at work.

    Args:
        store: The run folder; an object store has nothing that is half-written.
    """
    if not store.is_local:
        return
    store.sweep()
    store.sweep(BUNDLE)
    for trial in store.list(FOLDER):
        store.sweep(f"{FOLDER}/{trial}")
