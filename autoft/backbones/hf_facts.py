"""What Hugging Face models of each type are and take, found by building each from its default configuration.

On torch's meta device, without memory. A fact that cannot be found so (a type needs a library that is not there, or
looks at values that are none) is left empty, and nothing is judged by it.
"""

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import MODEL_MAPPING, AutoModel, PreTrainedConfig

from autoft.backbones.backbone import watched_paths
from autoft.backbones.hf_vision import VisionEncoder, own_size, set_rate, square
from autoft.backbones.layers import batch_norms
from autoft.backbones.linears import block_linears
from autoft.core.entries.hf_types import DEFAULT_INPUT_SIZE
from autoft.core.errors import first_line

_log = logging.getLogger(__name__)

_TRIED = 0.5
"""The rate at which dropping is looked for."""
_MOST_LAYERS = 9
"""Layers that are built: the attention of models that have it in some layers alone comes again before the ninth."""
_SMALL = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_SMALLER, _LARGER = (96, 160), (1, 2, 3)
"""Sides of pictures that progressive resizing gives, and multiples of a grid by which a side is tried to be larger."""
_ATTENDING = ("layer_types", "attn_layer_indices")
"""Settings that say which layers attend; that none does by default says nothing of other models of the type."""
_LEAST_PATCH = 8
"""Side of patches from which on a part of one that is not seen counts."""
_GRIDS = (1, 2, 4, 8, 16, 32)
_REFUSALS = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    StrictDataclassError,
)
"""What configurations and models raise where they cannot take an input, or cannot be looked at without values."""
_IS_OFF = re.compile(r"drop_path_rate|.*layer_?drop|classifier_dropout.*|classif_dropout|summary_.*|aspp_.*")
"""Settings that drop paths or whole layers, or stand in heads that are not there."""

_DRAWS = ("bernoulli", "bernoulli_", "rand", "rand_like", "randn", "randn_like", "alpha_dropout", "feature_dropout")
"""Other functions of torch that draw."""

Row = dict[str, str]


def types() -> Iterator[type[PreTrainedConfig]]:
    """Yield the configuration's class of each type that reads pictures or texts alone."""
    # A few types have several classes of configurations, which differ in their heads.
    kinds = {str(kind.model_type): kind for kind in MODEL_MAPPING}
    for _, kind in sorted(kinds.items()):
        if kind.sub_configs:
            continue
        try:
            reads = reads_of(kind)
        except (ImportError, ValueError) as error:
            _log.warning("%s: %s", kind.model_type, first_line(error))
            continue
        if reads:
            yield kind


def reads_of(kind: type[PreTrainedConfig]) -> str | None:
    """Return what a model of a configuration's type reads: "image", "text", or None for neither or several."""
    found = MODEL_MAPPING[kind]
    # A few types map to several classes, which read the same.
    model = found[0] if isinstance(found, tuple) else found
    return {"pixel_values": "image", "input_ids": "text"}.get(str(model.main_input_name))


def measure_type(kind: type[PreTrainedConfig]) -> Row:
    """Return the facts of a type, by the columns of the table; what could not be found is left out.

    `image_size` and `patch_size` of the default configuration; `grid`, what the side of pictures must be a multiple of
    ("patch": the patch size; "own": no other than its own side goes); `fixed_size`, whether pictures smaller than its
    own fail; `drop_path`, whether paths are dropped by `drop_path_rate`; `batch_norms`, `linears` and
    `attention_linears`, how many it has, as for timm's models.
    """
    row: Row = {"model_type": str(kind.model_type), "input": str(reads_of(kind))}
    try:
        config = _config(kind)
        module = _built(config)
    except (*_REFUSALS, ImportError) as error:
        _log.warning("%s: %s", kind.model_type, first_line(error))
        return row
    if hasattr(module, "timm_model"):
        return row  # It is whatever its configuration names.
    linears = block_linears(module)
    row["linears"] = str(len(linears))
    if any(linears.values()) or not any(name in vars(config) for name in _ATTENDING):
        row["attention_linears"] = str(sum(linears.values()))
    return row | (_of_pictures(kind, config) if row["input"] == "image" else {})


def _of_pictures(kind: type[PreTrainedConfig], config: PreTrainedConfig) -> Row:
    size, patch = own_size(config), square(getattr(config, "patch_size", None))
    row = {"image_size": str(size or ""), "patch_size": str(patch or "")}
    side = size or DEFAULT_INPUT_SIZE
    features = _features(kind, side)
    if features is None:
        return row

    def reads(other: int) -> bool:
        return _features(kind, other) == features

    row["fixed_size"] = str(int(not all(map(reads, _SMALLER))))
    if patch is not None and patch >= _LEAST_PATCH and _cuts(kind, side, patch):
        row["grid"] = "patch" if all(reads(side + times * patch) for times in _LARGER) else "own"
    else:
        row["grid"] = _grid(reads, side)
    module = _built(config, drop_path=_TRIED)
    with watched_paths(module) as called:
        _states(module, side)
    return row | {"drop_path": str(int(bool(called))), "batch_norms": str(len(batch_norms(module)))}


def _grid(reads: Callable[[int], bool], side: int) -> str:
    if not reads(side + 2 * _GRIDS[-1]):
        return "own"
    fitting = (grid for grid in _GRIDS if all(reads(side + times * grid) for times in _LARGER))
    return str(next(fitting, "own"))


def _cuts(kind: type[PreTrainedConfig], side: int, patch: int) -> bool:
    """Return whether what is beyond the last whole patch is not seen, or refused."""
    if side % patch:
        return False
    states = _states(_built(_config(kind)), side)
    if states.ndim != 3:
        return False
    larger = side + patch - 1
    return _features(kind, larger) is None or states.shape == _states(_built(_config(kind)), larger).shape


def _features(kind: type[PreTrainedConfig], side: int) -> int | None:
    """Return the features of a new model for a picture, since some change when they meet a size; None if it fails."""
    try:
        pooled = _pooled(_built(_config(kind)), side)
    except _REFUSALS as error:
        _log.info("%s at %d px: %s", kind.model_type, side, first_line(error))
        return None
    return pooled.shape[1] if pooled.ndim == 2 else None


def _pooled(module: nn.Module, side: int) -> torch.Tensor:
    with torch.device("meta"), torch.no_grad():
        pooled: torch.Tensor = VisionEncoder(module)(torch.zeros(1, 3, side, side))
    return pooled


def _states(module: nn.Module, side: int) -> torch.Tensor:
    with torch.device("meta"), torch.no_grad():
        states: torch.Tensor = VisionEncoder(module).outputs(torch.zeros(1, 3, side, side)).last_hidden_state
    return states


def dropouts(kind: type[PreTrainedConfig]) -> list[Row] | None:
    """Return each setting that makes passes in training random, with its default; None where that cannot be found."""
    for build, device in ((_config, "meta"), (_small, "cpu")):
        try:
            own = kind()
            names = [name for name, rate in vars(own).items() if _is_dropout(name, rate)]
            quiet = _num_random(build(kind), names, None, device=device)
            found = [name for name in names if _num_random(build(kind), names, name, device=device) > quiet]
        except (*_REFUSALS, ImportError) as error:
            _log.warning("dropout of %s: %s", kind.model_type, first_line(error))
            continue
        return [
            {"model_type": str(kind.model_type), "setting": name, "default": f"{_largest(getattr(own, name)):g}"}
            for name in found
        ]
    return None


def dropout_rows(types: list[type[PreTrainedConfig]]) -> Iterator[Row]:
    """Yield the dropouts of all types; one without any has one empty row, one that could not be judged none."""
    for kind in types:
        found = dropouts(kind)
        if found is not None:
            yield from found or [{"model_type": str(kind.model_type), "setting": "", "default": "0"}]


def _is_dropout(name: str, rate: Any) -> bool:
    is_rate = isinstance(rate, float | int | list | tuple) and not isinstance(rate, bool)
    return is_rate and ("drop" in name or name.endswith("pdrop")) and not _IS_OFF.fullmatch(name)


def _num_random(config: PreTrainedConfig, names: list[str], tried: str | None, *, device: str) -> int:
    """Return how often a pass in training draws, where of the dropouts only `tried` is above 0."""
    for name in names:
        set_rate(config, name, _TRIED if name == tried else 0.0)
    if hasattr(config, "drop_path_rate"):
        set_rate(config, "drop_path_rate", 0.0)
    module = _built(config, device=device).train()
    with _Draws() as draws, torch.no_grad():
        if reads_of(type(config)) == "image":
            side = own_size(config) or DEFAULT_INPUT_SIZE
            module(torch.zeros(1, 3, side, side, device=device))
        else:
            module(input_ids=torch.full((1, 8), 5, device=device))
    return int(draws.num)


class _Draws(TorchFunctionMode):
    """Counts the calls that drop."""

    def __init__(self) -> None:
        super().__init__()
        self.num: int = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if function is functional.dropout:
            rate = given.get("p", args[1] if len(args) > 1 else 0.5)
            is_training = given.get("training", args[2] if len(args) > 2 else True)
            self.num += bool(rate > 0 and is_training)
        elif function is functional.scaled_dot_product_attention:
            self.num += (given.get("dropout_p", args[4] if len(args) > 4 else 0.0)) > 0
        elif getattr(function, "__name__", "") in _DRAWS:
            self.num += 1
        return function(*args, **given)


def _config(kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    """Return the default configuration, with fewer layers where that can be said."""
    config = kind()
    layers = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, int) or layers <= _MOST_LAYERS:
        return config
    try:
        return kind(num_hidden_layers=_MOST_LAYERS)
    except _REFUSALS:
        return config


def _small(kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    """Return a configuration of few weights: for models that cannot do without values."""
    own = kind()
    return kind(**{name: value for name, value in _SMALL.items() if isinstance(getattr(own, name, None), int)})


def _built(config: PreTrainedConfig, *, drop_path: float | None = None, device: str = "meta") -> nn.Module:
    """Return the model in evaluation mode, with paths that are dropped where it has any."""
    if drop_path is not None and isinstance(getattr(config, "drop_path_rate", None), float | list | tuple):
        set_rate(config, "drop_path_rate", drop_path)
    with torch.device(device):
        module: nn.Module = AutoModel.from_config(config, trust_remote_code=False)
    return module.eval().requires_grad_(False)


def _largest(rate: Any) -> float:
    return float(max(rate) if isinstance(rate, list | tuple) else rate)
