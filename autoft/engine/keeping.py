"""Which checkpoints stay: the best of trials that lead or may lead, the state of unfinished ones; what is swept."""

from autoft.core.storage import Store
from autoft.engine.ledger import Ledger

FOLDER = "checkpoints"
LAST = "last.safetensors"
"""The state to go on from."""
FORMER = "former.safetensors"
"""What a state on a disk may share its weights with."""
BUNDLE = "best"
MANY = 16
"""So many trials end at least between two looks at the list of folders, and a trial for so many of a longer list."""


class Pruner:
    """Removes a running search's checkpoints that nobody will ask for again, after every trial that ends.

    The list of all folders is long in a large search, and a request in a store; with each trial that ends few are
    needless from then on: only these are looked at, and the list now and then, for what a worker wrote after its trial
    had ended.
    """

    def __init__(self, store: Store, ledger: Ledger, *, keep: int) -> None:
        """Prune the run in the folder `store`, in which the `keep` leading trials stay, and who may come to be one."""
        self._store, self._ledger, self._keep = store, ledger, keep
        self._state = (LAST, FORMER) if store.is_local else (LAST,)
        self._needed: set[str] = set()
        self._trimmed: set[str] = set()
        self._num_seen = 0
        self._until_list = 0

    def __call__(self) -> None:
        """Remove what is needless: all of the trials that cannot lead, of those that can the state to go on from."""
        new = [view.trial for view in self._ledger.views[self._num_seen :]]
        if self._until_list:
            self._until_list -= 1
            there = self._needed | set(new)
        else:
            there = set(self._store.list(FOLDER))
            self._until_list = max(MANY, len(there) // MANY)
        leading = self._ledger.may_lead(there, most=self._keep)
        needed = {*leading, *self._ledger.unfinished}
        for trial in sorted(there - needed):
            self._store.delete_folder(f"{FOLDER}/{trial}")
        for trial in sorted(leading - self._trimmed):
            self._store.delete_files(*(f"{FOLDER}/{trial}/{name}" for name in self._state))
            self._trimmed.add(trial)
        self._num_seen += len(new)
        self._needed = needed


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
