"""Parts of a backbone: layer groups, for freezing and layer-wise rates; what must not decay; batch norms."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from autoft.backbones.backbone import LayerGroups

_FIRST = "input"
_SHARED = re.compile(r"embed|relative_|(?:.*\.)?encoder\.LayerNorm\.")
"""In names of what every layer reads, though some models register it after them: relative positions, and DeBERTa's norm
of these."""
_POSITIONS = r"\w*(?:pos|position|positional)_(?:embed|emb|embedding|encoding)s?(?:_\w+)?|embed_positions|wpe"
_RELATIVE = r"rel_embeddings|relative_attention_bias|relative_position_bias_table|rel_pos_[hw]"
_TOKENS = r"(?:cls|class|dist|distillation|reg|register|mask)_(?:tokens?|embedding)"
_UNDECAYED = re.compile(rf"(?:.*\.)?(?:{_POSITIONS}|{_RELATIVE}|{_TOKENS})(?:\.weight)?")


def timm_groups(module: nn.Module) -> LayerGroups:
    """Return the groups of a timm model by its own `group_matcher`, as timm's layer-wise decay does.

    Norms that follow the layers, and that no pattern of it names, timm counts to the classifier, which is not here:
    they belong to the last layer, as in `groups_by_name`.
    """
    matcher: Any = getattr(module, "group_matcher", None)
    if matcher is None:
        return groups_by_name(module.named_parameters(), nested=True)
    depths: dict[str, int] = group_parameters(module, matcher(coarse=False), reverse=True)
    titles = dict.fromkeys(depths.values(), "")
    last = max(depths.values(), default=0)
    if last and all(parameter.ndim <= 1 for name, parameter in module.named_parameters() if depths[name] == last):
        titles[last - 1] = _common([name for name, depth in depths.items() if depth == last - 1])
        depths = {name: min(depth, last - 1) for name, depth in depths.items()}
    return _collected(module.named_parameters(), {name: (depth, titles[depth]) for name, depth in depths.items()})


def groups_by_name(named_parameters: Iterable[tuple[str, nn.Parameter]], *, nested: bool) -> LayerGroups:
    """Return a group for what comes before the numbered layers, and one for each of these.

    Args:
        named_parameters: Of a module whose parts are registered in the order in which they run.
        nested: Whether layers may hold numbered blocks of their own, as in `stages.1.blocks.3.*`; each is a group
            then, and what else a stage holds is one.

    Embeddings that are registered after the layers (relative positions) belong to the first group, since every
    layer reads them; what follows the layers, a last norm, belongs to the last of them, as in timm's own groups: by
    itself it would be no layer that could be frozen or start afresh.
    """
    block = r"(?:\.(?:blocks?|layers?)\.\d+(?=\.))?" if nested else ""
    pattern = re.compile(rf".*?\.\d+(?=\.){block}")
    parameters = list(named_parameters)
    depths: dict[str, tuple[int, str]] = {}
    order: dict[str, int] = {}
    for name, _ in parameters:
        if match := pattern.match(name):
            depths[name] = (order.setdefault(match.group(), len(order) + 1), match.group())
        elif not order or _SHARED.search(name):
            depths[name] = (0, _FIRST)
        else:
            depths[name] = (len(order), next(reversed(order)))
    return _collected(parameters, depths)


def undecayed(encoder: nn.Module, *, prefix: str = "") -> frozenset[str]:
    """Return the names of an encoder's position embeddings, class tokens and the like, with `prefix` before each.

    These are vectors that stand for themselves, not weights that multiply inputs: vision transformers are trained
    without decay on them (Touvron et al., DeiT, arXiv:2012.12877; Liu et al., Swin, arXiv:2103.14030). What a timm
    model names in `no_weight_decay` is added.
    """
    declared: Any = getattr(encoder, "no_weight_decay", tuple)
    patterns = list(declared())
    return frozenset(
        prefix + name
        for name, _ in encoder.named_parameters()
        if _UNDECAYED.fullmatch(name) or any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch norms of a network, by name."""
    return {name: part for name, part in network.named_modules() if isinstance(part, _BatchNorm)}


def _collected(
    named_parameters: Iterable[tuple[str, nn.Parameter]], depths: Mapping[str, tuple[int, str]]
) -> LayerGroups:
    """Return the parameters by depth; a group without a name gets the common one of its parameters."""
    members: dict[int, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named_parameters:
        members.setdefault(depths[name][0], []).append((name, parameter))
    groups: LayerGroups = []
    for index, depth in enumerate(sorted(members)):
        names = [name for name, _ in members[depth]]
        title = depths[names[0]][1] or _common(names) or (_FIRST if index == 0 else "output")
        if title in {name for name, _ in groups}:
            title = f"{title}#{index}"
        groups.append((title, [parameter for _, parameter in members[depth]]))
    return groups


def _common(names: list[str]) -> str:
    """Return the dotted beginning that all names share, without the parameter's own last part."""
    owners = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda parts: len(set(parts)) == 1, zip(*owners, strict=False))
    return ".".join(parts[0] for parts in shared)
