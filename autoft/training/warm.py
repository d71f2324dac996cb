"""What a warm worker keeps between trials: pretrained backbones, open tables, frozen features, what it has tried."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from autoft import backbones
from autoft.backbones import Backbone
from autoft.core.jsonable import Json, digest
from autoft.core.shelf import Shelf
from autoft.tasks import Inputs, build_inputs

if TYPE_CHECKING:
    from autoft.training.kept import Tried

MAX_BACKBONES = 2
MAX_BYTES = 1 << 30
"""Of encoded inputs, states and features, in this process's own memory; the last one used stays whatever its size."""
MAX_TABLES = 16
"""Open tables of inputs and states: what is mapped takes no memory, but room on the disk even when it is removed."""


class WarmCache:
    """Keeps what the next trial is likely to need; a trial's result never depends on what is kept."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        """What all workers of this machine share."""
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._encoded: OrderedDict[str, Any] = OrderedDict()
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self._latencies: dict[Hashable, float] = {}
        self._tried: dict[str, Tried | None] = {}
        self._inputs: dict[str, Inputs] = {}

    def backbone(self, config: Json, *, learns: bool) -> Backbone:
        """Return a fresh copy of the pretrained backbone that `config` names, which the trial may change.

        Args:
            config: A recipe's section.
            learns: Whether its layers learn; if not, copies have the memory of their parameters in common, but for what
                goes to another layout or device.
        """
        key = digest(config)
        if key not in self._backbones:
            self._backbones[key] = backbones.build(config)
        self._backbones.move_to_end(key)
        while len(self._backbones) > MAX_BACKBONES:
            self._inputs.pop(self._backbones.popitem(last=False)[0], None)
        kept = self._backbones[key]
        still = [] if learns else [one for _, parameters in kept.layer_groups for one in parameters]
        return copy.deepcopy(kept, {id(one): nn.Parameter(one.detach(), one.requires_grad) for one in still})

    def inputs(self, config: Json, preprocessing: Json) -> Inputs:
        """Return the inputs of the backbone that `config` names: reading a tokenizer takes as long as an update."""
        key = digest(config)
        if key not in self._inputs:
            self._inputs[key] = build_inputs(preprocessing)
        return self._inputs[key]

    def encoded(self, key: Json, open_table: Callable[[Shelf], Any]) -> Any:
        """Return the encoded inputs, or states, of a key, opened once; the least recently used go if there are many."""
        return _kept(self._encoded, digest(key), lambda: open_table(self.shelf))

    def features(self, key: Json, read: Callable[[Shelf], Tensor]) -> Tensor:
        """Return the features of a key, read once; the least recently used ones go when memory runs short."""
        value: Tensor = _kept(self._features, digest(key), lambda: read(self.shelf))
        return value

    def tried(self, key: str, find: Callable[[], "Tried | None"]) -> "Tried | None":
        """Return where networks of a key can be cut, tried once; None: nowhere."""
        if key not in self._tried:
            self._tried[key] = find()
        return self._tried[key]

    def latency_ms(self, key: Hashable, measure: Callable[[], float]) -> float:
        """Return what one row takes by key, measured once: equal networks have equal latencies."""
        if key not in self._latencies:
            self._latencies[key] = measure()
        return self._latencies[key]


def _kept(held: OrderedDict[str, Any], key: str, make: Callable[[], Any]) -> Any:
    if key not in held:
        held[key] = make()
    held.move_to_end(key)
    while len(held) > 1 and (len(held) > MAX_TABLES or sum(value.nbytes for value in held.values()) > MAX_BYTES):
        held.popitem(last=False)
    return held[key]
