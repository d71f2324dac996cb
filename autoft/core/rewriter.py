"""Large files that are written again and again."""

import contextlib
import os
import secrets
import shutil
import weakref
from pathlib import Path

from autoft.core.draft import Draft, direct_buffer
from autoft.core.storage import Store, make_folder, sync_folder

LARGE_BYTES = 1 << 20
"""Of files that are worth writing past the page cache."""
_FAST_BYTES_PER_SECOND = 100e6
"""Of disks for which nobody waits long."""


class Rewriter:
    """Writes one large file of a store again and again.

    As `Store.write` does. On a local disk the version before the last is kept beside it, without a name that anybody
    reads, and the next is written into it: its room on the disk is there already, and in the page cache unless it goes
    past that. It goes with this object; what a kill leaves, `Store.sweep` removes.
    """

    def __init__(self, store: Store, name: str, *, durable: bool = False) -> None:
        """Write the file `name` of `store`; if not `durable`, a power cut may take what was written to a local disk."""
        self._store, self._name, self._durable = store, name, durable
        self._target = Path(store.path(name))
        self._buffer: memoryview | None = None
        self._is_slow = False
        """Whether it once took long to write past the page cache."""
        # Of a process's own: another may write the same file, not knowing that its time is over.
        spare, linked = (f".{self._target.name}.{secrets.token_hex(4)}" for _ in range(2))
        self._spare, self._linked = self._target.with_name(spare), self._target.with_name(linked)
        if store.is_local:
            weakref.finalize(self, _remove, self._spare, self._linked)

    def write(self, *parts: bytes | memoryview, former: str | None = None) -> None:
        """Write the file whole, of `parts` one after another: a reader sees the old content or the new.

        Args:
            parts: Its content.
            former: As of `publish`.
        """
        if not self._store.is_local:
            self._store.write(self._name, *parts)
            return
        draft = self.draft()
        try:
            draft.append(*parts)
        except BaseException:
            self.drop(draft)
            raise
        self.publish(draft, former=former)

    def draft(self, *, room: int = 0, num_bytes: int = 0) -> Draft:
        """Begin the next version, on a local disk; the one before that is not read any more.

        Args:
            room: Bytes at the beginning that are written last.
            num_bytes: About how many there will be.
        """
        make_folder(self._target.parent)
        past_cache = num_bytes >= LARGE_BYTES and (self._durable or not self._is_slow)
        if past_cache and self._buffer is None:
            self._buffer = direct_buffer()
        return Draft(self._spare, room=room, buffer=self._buffer if past_cache else None, durable=self._durable)

    def publish(self, draft: Draft, first: bytes = b"", *, former: str | None = None) -> None:
        """Let a draft be the file.

        Args:
            draft: What `draft` gave last.
            first: What is written into the room.
            former: What the version before is called from then on, until it is reclaimed; None: it is not read any
                more.
        """
        try:
            draft.finish(first)
            self._link(is_needed=former is not None)
            if former is not None:
                _remove(self._target.with_name(former))  # it may be the same file, and then a rename does nothing
                with contextlib.suppress(FileNotFoundError):
                    self._linked.replace(self._target.with_name(former))
            self._spare.replace(self._target)
            with contextlib.suppress(FileNotFoundError):
                self._linked.replace(self._spare)
        except BaseException:
            self.drop(draft)
            raise
        self._is_slow |= draft.is_past_cache and draft.size < draft.seconds * _FAST_BYTES_PER_SECOND
        if self._durable:
            sync_folder(self._target.parent)

    def drop(self, draft: Draft) -> None:
        """Remove a draft that could not be written."""
        try:
            draft.close()
        finally:
            _remove(self._spare, self._linked)

    def reclaim(self, former: str) -> None:
        """Write the next version into the one that was kept as `former`, if there is one: nobody reads it any more."""
        path = self._target.with_name(former)
        if not self._store.is_local or not path.exists():
            return
        if self._target.exists() and path.samefile(self._target):  # a kill came before there was a newer version
            path.unlink()
        else:
            path.replace(self._spare)

    def _link(self, *, is_needed: bool) -> None:
        """Give the version that is published a second name, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            try:
                os.link(self._target, self._linked)
            except OSError:
                if is_needed:  # and the disk lets a file have one name alone
                    shutil.copyfile(self._target, self._linked)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
