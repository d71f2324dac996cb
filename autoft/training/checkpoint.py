"""Checkpoints of one trial: one safetensors file each, with JSON in its header for what are no tensors.

It is published whole, by one request to an object store: a kill leaves the former checkpoint or the new.
"""

import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal

import safetensors
import safetensors.torch
from torch import Tensor

from autoft.core.jsonable import Json, canonical_json
from autoft.core.rewriter import Rewriter
from autoft.core.storage import Store
from autoft.core.tensorfile import read_about
from autoft.tasks import state_hash
from autoft.training.drafts import TensorDraft, header_of

Slot = Literal["best", "last", "former"]
WEIGHTS = "model."
"""What the names of weights begin with where a checkpoint holds more than them."""
_THREADS = 3
"""For the hash and two files."""
_NEWS_BYTES = 1 << 16
"""More than what JSON says of an epoch beyond what it said of the one before; if it is not, a file is written twice."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and what JSON says of them."""

    tensors: dict[str, Tensor]
    about: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Drafts:
    """What an epoch came to, on its way into checkpoints."""

    weights: Mapping[str, Tensor]
    """By name; those that are validated."""
    hashed: Future[str]
    best: TensorDraft
    last: TensorDraft | None
    has_weights: bool
    """Whether the last one has the weights to go on from, which are others."""

    @property
    def weights_sha256(self) -> str:
        """The hash of the weights."""
        return self.hashed.result()


class Checkpoints:
    """The checkpoints of one trial, in a folder.

    Where an epoch is the best, its weights are part of both: a local disk then holds them in the best one alone, and
    the last says by their hash which they are. The best before stays, as `former.safetensors`, until a newer last is
    there.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._best = Rewriter(store, file_name("best"), durable=True)
        # It need not survive a power cut: what is lost of it is trained again.
        self._last = Rewriter(store, file_name("last"))
        self._best_weights = ""
        self._source: Slot | None = None
        """Which one holds the weights of the last that is published, if that does not hold them itself."""
        self._about_bytes = 0
        """That what JSON said last takes in a header."""

    @contextmanager
    def drafted(
        self,
        weights: Mapping[str, Tensor],
        rest: Mapping[str, Tensor] | None = None,
        *,
        network: Mapping[str, Tensor] | None = None,
    ) -> Iterator[Drafts]:
        """Let threads write what an epoch came to, while it is judged; no tensor may be changed until the block ends.

        What is not published then is nothing.

        Args:
            weights: By name; those that are validated, and may be the best.
            rest: By name, what the next epoch needs beside weights; None: no checkpoint to go on from is wanted.
            network: By name, the weights that it goes on from, if they are others.
        """
        going_on = _prefixed(weights if network is None else network)
        header = header_of({**weights, **(rest or {}), **going_on})
        room = len(json.dumps(header)) + self._about_bytes + _NEWS_BYTES if self.store.is_local else None
        best = TensorDraft(self._best, weights, room=room)
        last = TensorDraft(self._last, {**(rest or {}), **({} if network is None else going_on)}, room=room)
        with closing(best), closing(last), ThreadPoolExecutor(_THREADS, thread_name_prefix="autoft-checkpoint") as pool:
            hashed = pool.submit(state_hash, weights)
            best.begin(pool)
            if rest is not None:
                last.begin(pool)
            try:
                yield Drafts(
                    weights=weights,
                    hashed=hashed,
                    best=best,
                    last=None if rest is None else last,
                    has_weights=network is not None,
                )
            finally:
                best.cancel()
                last.cancel()

    def publish(self, drafts: Drafts, *, best: Json | None = None, last: Json | None = None) -> None:
        """Let what an epoch came to be the best checkpoint, or the last; if both, one after the other.

        Args:
            drafts: Of a block that has not ended.
            best: What JSON says of the weights, if they are the best. They survive a power cut.
            last: What JSON says of the state to go on from, if one is wanted.

        Raises:
            OSError: If the disk refused it.
            StorageError: If the store did.
        """
        weights_sha256 = drafts.weights_sha256
        if best is not None:
            former = file_name("former") if self._source == "best" else None
            drafts.best.publish({**best, "weights_sha256": weights_sha256}, former=former)
            self._best_weights = weights_sha256
            self._source = self._source and "former"
        else:
            drafts.best.cancel()
        if last is None:
            return
        if drafts.last is None:
            raise ValueError("There is no state to go on from among the drafts.")
        is_shared = self.store.is_local and not drafts.has_weights and weights_sha256 == self._best_weights
        if is_shared:
            last = {**last, "weights_sha256": weights_sha256}
        elif not drafts.has_weights:
            drafts.last.add(_prefixed(drafts.weights))
        drafts.last.publish(last)
        self._source = "best" if is_shared else None
        self._best.reclaim(file_name("former"))
        self._about_bytes = _bytes_in_header(last)

    def load(self, slot: Slot) -> Checkpoint | None:
        """Return the published checkpoint, or None where there is none that is whole."""
        found = self._read(slot)
        weights_sha256 = found.about.pop("weights_sha256", None) if slot == "last" and found is not None else None
        if slot == "last" and found is not None:
            self._about_bytes = _bytes_in_header(found.about)
        if found is None or weights_sha256 is None:
            return found
        sources: tuple[Slot, ...] = ("best", "former")
        for source in sources:
            held = self._read(source)
            if held is not None and held.about.get("weights_sha256") == weights_sha256:
                self._source = source
                return Checkpoint(found.tensors | _prefixed(held.tensors), found.about)
        return None

    def _read(self, slot: Slot) -> Checkpoint | None:
        try:
            content = self.store.read(file_name(slot))
        except FileNotFoundError:
            return None
        about = read_about(io.BytesIO(content))
        try:
            return None if about is None else Checkpoint(safetensors.torch.load(content), about)
        except safetensors.SafetensorError:
            return None


def file_name(slot: Slot) -> str:
    """Return the name of a checkpoint's file."""
    return f"{slot}.safetensors"


def _bytes_in_header(about: Json) -> int:
    """Return how long JSON is as a string in JSON."""
    return len(json.dumps(canonical_json(about)))


def _prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{WEIGHTS}{name}": tensor for name, tensor in weights.items()}
