"""Small trainable parts beside frozen linear layers, through peft: put in before training, folded in after it.

Hugging Face encoders and timm's transformers are treated alike: what gets an adapter is found by structure.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoft.backbones import Backbone
from autoft.backbones.linears import block_linears
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json
from autoft.core.seeds import derive_seed
from autoft.tasks import Network

if TYPE_CHECKING:
    from peft import PeftConfig

MODES = ("lora", "dora", "ia3")
_KEYS_AND_VALUES = re.compile(
    r"(?:\w*_)?(?:w?qkv|kv|k|v|key|value|query_key_value)(?:_?(?:proj|lin|linear))?", re.IGNORECASE
)
"""Last names of the layers that give keys and values, together with queries or by themselves."""


def install_adapters(network: Network, backbone: Backbone, recipe: Json, *, seed: int) -> None:
    """Put the adapters of the recipe's mode into the backbone, if it has any, and freeze the rest of it.

    Until they are trained they change nothing. Their first weights are drawn from `seed`; the caller's random numbers
    stay as they are.

    Args:
        network: Of `backbone.module`, which is changed in place.
        backbone: On the processor, in evaluation mode.
        recipe: Complete, or a probe's.
        seed: The trial's.

    Raises:
        ConfigError: If the backbone has no layer for them.
    """
    settings = recipe["finetune"]
    if settings["mode"] not in MODES:
        return
    from peft import inject_adapter_in_model

    _separate_biases(network.backbone)
    found = _linear_layers(backbone)
    config = _ia3(found, network.backbone) if settings["mode"] == "ia3" else _lora(found, settings)
    if config is None:
        where = "attention" if settings.get("targets", "attention") == "attention" else "blocks"
        raise ConfigError(
            f"finetune.mode {settings['mode']} has no layer to go to: {recipe['backbone']['name']} has no linear "
            f"layers in its {where}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "adapters"))
        inject_adapter_in_model(config, network.backbone)
    network.backbone.eval()
    if backbone.pooling is not None:
        backbone.pooling.requires_grad_(True)


@torch.no_grad()
def merge_adapters(network: Network) -> None:
    """Fold the adapters into the weights beside them, if there are any; names are the plain backbone's again."""
    if getattr(network.backbone, "peft_config", None) is None:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, part in list(network.named_modules()):
        if isinstance(part, BaseTunerLayer):
            part.merge()
            owner, _, name = path.rpartition(".")
            setattr(network.get_submodule(owner), name, part.get_base_layer())
    del network.backbone.peft_config


def _lora(found: dict[str, bool], settings: Json) -> "PeftConfig | None":
    """Return LoRA's configuration (Hu et al., arXiv:2106.09685), or DoRA's (Liu et al., arXiv:2402.09353)."""
    from peft import LoraConfig

    targets = [path for path, is_attention in found.items() if is_attention or settings["targets"] == "all"]
    if not targets:
        return None
    return LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        use_dora=settings["mode"] == "dora",
        target_modules=_exactly(targets),
    )


def _ia3(found: dict[str, bool], module: nn.Module) -> "PeftConfig | None":
    """Return the configuration of (IA)^3: keys, values and the inner activations of feed-forward layers are scaled.

    Where attention gives keys and values under no known name, all that its layers give is scaled.

    Reference: Liu et al., Few-Shot Parameter-Efficient Fine-Tuning, arXiv:2205.05638, 3.3.
    """
    from peft import IA3Config

    attention = [path for path, is_attention in found.items() if is_attention]
    if not attention:
        return None
    scaled = [path for path in attention if _KEYS_AND_VALUES.fullmatch(path.rpartition(".")[2])] or attention
    inner = _after_inner(module, [path for path, is_attention in found.items() if not is_attention])
    return IA3Config(target_modules=_exactly(scaled + inner), feedforward_modules=_exactly(inner))


def _after_inner(module: nn.Module, paths: list[str]) -> list[str]:
    """Return the layers that inner activations enter: each takes what the one before it gave, and narrows it.

    A gate halves what the layer before gave.
    """
    layers: list[Any] = [module.get_submodule(path) for path in paths]
    return [
        path
        for path, before, layer in zip(paths[1:], layers[:-1], layers[1:], strict=True)
        if before.out_features in (layer.in_features, 2 * layer.in_features) and layer.out_features < layer.in_features
    ]


def _exactly(paths: Iterable[str]) -> str:
    """Return the regular expression of these paths alone; one that fits nothing if there are none."""
    return "|".join(re.escape(path) for path in paths) or r"(?!)"


def _linear_layers(backbone: Backbone) -> dict[str, bool]:
    """Return the paths of the linear layers in numbered blocks, and whether they are part of attention.

    Those whose weights others read without calling them, as torch's own attention does, are left out: an adapter
    beside them would never be asked.
    """
    module, called = backbone.module, set()
    found = block_linears(module)
    layers = {path: module.get_submodule(path) for path in found}
    handles = [
        layer.register_forward_hook(lambda layer, _inputs, _output: called.add(id(layer))) for layer in layers.values()
    ]
    try:
        with torch.no_grad():
            module(*backbone.example())
    finally:
        for handle in handles:
            handle.remove()
    return {path: is_attention for path, is_attention in found.items() if id(layers[path]) in called}


def _separate_biases(module: nn.Module) -> None:
    """Let timm's layers of queries, keys and values be called, and add their biases after, where they are apart.

    BEiT, EVA and Swin V2 else use the weights without calling the layer.
    """
    parts: list[Any] = list(module.modules())
    for part in parts:
        if getattr(part, "qkv_bias_separate", None) is False:
            part.qkv_bias_separate = True
