"""Which checkpoints stay: the best of the leading trials, and the state of unfinished ones; and what is swept."""

from collections.abc import Collection, Iterable

from autoft.core.storage import Store
from autoft.engine.ledger import Ledger

FOLDER = "checkpoints"
BUNDLE = "best"
MANY = 16
"""Folders that are listed for each trial that ends; of more the list is read the less often."""


def prune_checkpoints(
    store: Store, *, leading: Collection[str], unfinished: Collection[str], among: Iterable[str] | None = None
) -> int:
    """Remove every checkpoint that nobody will ask for again; return how many trials were looked at.

    Args:
        store: The run folder.
        leading: Finished trials whose best state stays; the state to go on from is removed.
        unfinished: Trials of which all stays.
        among: Trials that are looked at; None: all that have a folder.
    """
    looked_at = store.list(FOLDER) if among is None else sorted(among)
    for trial in looked_at:
        if trial in unfinished:
            continue
        if trial not in leading:
            store.delete(f"{FOLDER}/{trial}")
            continue
        for name in store.list(f"{FOLDER}/{trial}"):
            if name.startswith("last"):
                store.delete(f"{FOLDER}/{trial}/{name}")
    return len(looked_at)


class Pruner:
    """Prunes a running search's checkpoints after every trial that ends.

    The list of all folders is long in a large search, and with each trial that ends few are needless from then on: only
    these are looked at, and the list now and then, for what a worker wrote after its trial had ended.
    """

    def __init__(self, store: Store, ledger: Ledger, *, keep: int) -> None:
        """Prune the run in the folder `store`, in which `keep` trials stay."""
        self._store, self._ledger, self._keep = store, ledger, keep
        self._needed: set[str] = set()
        self._num_seen = 0
        self._until_list = 0

    def __call__(self) -> None:
        """Remove what nobody will ask for again."""
        leading = self._ledger.ranking(finished_only=True)[: self._keep]
        unfinished = self._ledger.unfinished
        new = [view.trial for view in self._ledger.views[self._num_seen :]]
        among = (self._needed | {*leading, *new}) - unfinished
        if self._until_list:
            self._until_list -= 1
            prune_checkpoints(self._store, leading=leading, unfinished=unfinished, among=among)
        else:
            self._until_list = prune_checkpoints(self._store, leading=leading, unfinished=unfinished) // MANY
        self._num_seen += len(new)
        self._needed = {*leading, *unfinished}


def sweep(store: Store) -> None:
    """Remove what workers and drivers that were killed left half-written; no worker may be at work.

    Args:
        store: The run folder.
    """
    store.sweep()
    store.sweep(BUNDLE)
    for trial in store.list(FOLDER):
        store.sweep(f"{FOLDER}/{trial}")
