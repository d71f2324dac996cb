"""Write the catalog's tables from the installed timm and transformers: `python -m autoft.backbones.facts`.

Every timm model, and a Hugging Face model of each type, is built without memory (on torch's meta device), so the tables
need neither weights nor network. They are made again when a version changes, and stand beside the catalog, which reads
them without torch. Takes about forty minutes.
"""

import csv
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autoft.backbones import hf_facts
from autoft.backbones.backbone import watched_paths
from autoft.backbones.layers import batch_norms, timm_groups
from autoft.backbones.linears import block_linears
from autoft.core.entries import backbones as tables
from autoft.core.entries import hf_types

_log = logging.getLogger(__name__)

_TRIED_DROP_PATH = 0.5


def rows() -> Iterator[dict[str, str]]:
    """Yield one row for each pretrained tag of each timm model, the default tag first."""
    tagged: dict[str, list[str]] = {}
    for full in timm.list_models(pretrained=True, include_tags=True):
        name, _, tag = full.partition(".")
        tagged.setdefault(name, []).append(tag)
    for name in timm.list_models():
        default = timm.get_pretrained_cfg(name)
        first = (default.tag or "") if default is not None else ""
        found = measure(name)
        sizes: dict[str, str] = {}
        for tag in sorted(tagged.get(name, [""]), key=lambda tag: (tag != first, tag)):
            published = _published(name, tag)
            size = published["input_size"]
            if size not in sizes:
                sizes[size] = gmacs(f"{name}.{tag}") if sizes else found["gmacs"]
            yield {"name": name, "tag": tag} | published | found | {"gmacs": sizes[size]}


def _published(name: str, tag: str) -> dict[str, str]:
    config = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    if config is None:
        return {"hub": "", "input_size": "", "fixed_size": ""}
    return {
        "hub": str(config.hf_hub_id or config.url or ""),
        "input_size": str(config.input_size[-1]),
        "fixed_size": str(int(config.fixed_input_size)),
    }


def measure(name: str) -> dict[str, str]:
    """Return what building the model without a classifier shows, by the columns of the table.

    Parameters; features; `pooled`, whether it gives one vector for a picture (if not, features are those of each
    place); `drop_path`, whether it takes a rate of dropping paths, and its forward pass then drops any; `groups`, the
    layer groups that are frozen and learn at rates of their own; `linears` and `attention_linears`, those inside
    the numbered blocks and those of them inside attention, which adapters go to; `cls_token`, whether the first of its
    tokens is one for the whole picture; `batch_norms`, how many it has; `gmacs` as `gmacs` gives them.
    """
    module = _built(name)
    with watched_paths(module) as called, FlopCounterMode(display=False) as counter:
        shape = _output(module)
    linears = block_linears(module)
    return {
        "parameters": str(sum(parameter.numel() for parameter in module.parameters())),
        "features": str(shape[0] if len(shape) == 3 else shape[-1]),
        "pooled": str(int(len(shape) == 1)),
        "drop_path": str(int(bool(called))),
        "groups": str(len(timm_groups(module))),
        "linears": str(len(linears)),
        "attention_linears": str(sum(linears.values())),
        "cls_token": str(int(_has_cls_token(module))),
        "batch_norms": str(len(batch_norms(module))),
        "gmacs": _billions(counter),
    }


def gmacs(full: str) -> str:
    """Return the billions of multiply-accumulates of one picture of the model's own size, to 4 significant digits.

    Half of the floating-point operations that torch's FlopCounterMode counts: those of convolutions, matrix products
    and attention.
    """
    module = _built(full)
    with FlopCounterMode(display=False) as counter:
        _output(module)
    return _billions(counter)


def _built(full: str) -> nn.Module:
    """Return the model without a classifier, on the meta device, with paths that are dropped where it has any."""
    with torch.device("meta"):
        try:
            module: nn.Module = timm.create_model(full, num_classes=0, drop_path_rate=_TRIED_DROP_PATH)
        except TypeError:
            module = timm.create_model(full, num_classes=0)
    # The counter's hooks ask for gradients of what has none.
    return module.eval().requires_grad_(False)


def _billions(counter: FlopCounterMode) -> str:
    return f"{counter.get_total_flops() / 2e9:.4g}"


def _has_cls_token(module: nn.Module) -> bool:
    if not any(name.rpartition(".")[2] == "cls_token" for name, _ in module.named_parameters()):
        return False
    published: Any = module.pretrained_cfg
    run: Any = module.forward_features
    with torch.device("meta"), torch.no_grad():
        tokens = run(torch.zeros(1, *published["input_size"]))
    return isinstance(tokens, torch.Tensor) and tokens.ndim == 3 and tokens.shape[1] > 1


def _output(module: nn.Module) -> torch.Size:
    """Return the shape of what the module gives for one picture: (F), (T, F) or (F, H, W)."""
    published: Any = module.pretrained_cfg
    with torch.device("meta"), torch.no_grad():
        output: torch.Tensor = module(torch.zeros(1, *published["input_size"]))
    return output.shape[1:]


def _write(path: Path, version: str, columns: tuple[str, ...], table: Iterator[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {version}\n")
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(table):
            writer.writerow(row)
            if number % 100 == 0:
                _log.info("%s: %d rows, now %s", path.name, number, row[columns[0]])


def main() -> None:
    """Write the tables to the catalog's folder, or to the folder that is given."""
    logging.basicConfig(level=logging.INFO)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else tables.TIMM_TABLE.parent
    version, types = f"transformers {transformers.__version__}", list(hf_facts.types())
    found, dropouts = (hf_facts.measure_type(kind) for kind in types), hf_facts.dropout_rows(types)
    _write(folder / hf_types.TYPES_TABLE.name, version, hf_types.TYPES_COLUMNS, found)
    _write(folder / hf_types.DROPOUTS_TABLE.name, version, hf_types.DROPOUTS_COLUMNS, dropouts)
    source = f"timm {timm.__version__}; GMACs counted by torch at input_size"
    _write(folder / tables.TIMM_TABLE.name, source, tables.TIMM_COLUMNS, rows())


if __name__ == "__main__":
    main()
