"""What a warm worker keeps between trials: pretrained backbones, encoded inputs, frozen features."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

from autoft import backbones
from autoft.backbones import Backbone
from autoft.core.jsonable import Json, digest

MAX_BACKBONES = 2
MAX_ENCODED_BYTES = 2 << 30


class WarmCache:
    """Keeps what the next trial is likely to need; a trial's result never depends on what is kept."""

    def __init__(self) -> None:
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._encoded: OrderedDict[Hashable, Any] = OrderedDict()
        self._features: OrderedDict[Hashable, Tensor] = OrderedDict()

    def backbone(self, config: Json) -> Backbone:
        """Return a fresh copy of the pretrained backbone that `config` names, which the trial may change."""
        key = digest(config)
        if key not in self._backbones:
            self._backbones[key] = backbones.build(config)
        self._backbones.move_to_end(key)
        while len(self._backbones) > MAX_BACKBONES:
            self._backbones.popitem(last=False)
        return copy.deepcopy(self._backbones[key])

    def encoded(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return encoded inputs by key, made once; the least recently used ones go when memory runs short."""
        return _kept(self._encoded, key, make)

    def features(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Return the features of a frozen backbone by key, made once."""
        value: Tensor = _kept(self._features, key, make)
        return value


def _kept(shelf: OrderedDict[Hashable, Any], key: Hashable, make: Callable[[], Any]) -> Any:
    if key not in shelf:
        shelf[key] = make()
    shelf.move_to_end(key)
    while len(shelf) > 1 and sum(value.nbytes for value in shelf.values()) > MAX_ENCODED_BYTES:
        shelf.popitem(last=False)
    return shelf[key]
