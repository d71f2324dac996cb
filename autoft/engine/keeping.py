"""Which checkpoints stay: the best of the leading trials, and the state of unfinished ones; and what is swept."""

from collections.abc import Collection

from autoft.core.storage import Store

FOLDER = "checkpoints"
BUNDLE = "best"


def prune_checkpoints(store: Store, *, leading: Collection[str], unfinished: Collection[str]) -> None:
    """Remove every checkpoint that nobody will ask for again.

    Args:
        store: The run folder.
        leading: Finished trials whose best state stays; the state to go on from is removed.
        unfinished: Trials of which all stays.
    """
    for trial in store.list(FOLDER):
        if trial in unfinished:
            continue
        if trial not in leading:
            store.delete(f"{FOLDER}/{trial}")
            continue
        for name in store.list(f"{FOLDER}/{trial}"):
            if name.startswith("last"):
                store.delete(f"{FOLDER}/{trial}/{name}")


def sweep(store: Store) -> None:
    """Remove what workers and drivers that were killed left half-written; no worker may be at work.

    Args:
        store: The run folder.
    """
    store.sweep()
    store.sweep(BUNDLE)
    for trial in store.list(FOLDER):
        store.sweep(f"{FOLDER}/{trial}")
