"""Backbones: every timm model, and every Hugging Face encoder by hub name or local folder.

The facts stand in tables beside this module, each with one source, which its first line names. `timm_models.csv`,
`hf_types.csv` and `hf_dropouts.csv` are written by `python -m autoft.backbones.facts` from the installed timm and
transformers; its GMACs are counted there, by torch, at the model's own input size. `timm_results.csv` (top-1 on
ImageNet-1k) and `timm_speed.csv` (pictures a second on one card) are timm's own published results. `hf_models.csv`
names a few encoders that people start from, with the paper of each, and where a paper gives it their accuracy on MNLI.
Parameters, layer groups and GMACs are those of the features, without a classifier or pooler.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from autoft.core.catalog import Argument, Entry
from autoft.core.entries import hf_types
from autoft.core.entries.folders import WHOLE, elsewhere, folder_of, read_config
from autoft.core.entries.hf_types import DEFAULT_INPUT_SIZE, table
from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json

TIMM_TABLE = Path(__file__).with_name("timm_models.csv")
TIMM_COLUMNS = (
    *("name", "tag", "hub", "input_size", "fixed_size", "parameters", "features", "pooled", "drop_path"),
    *("groups", "linears", "attention_linears", "cls_token", "batch_norms", "gmacs"),
)
_RESULTS_TABLE = Path(__file__).with_name("timm_results.csv")
_SPEED_TABLE = Path(__file__).with_name("timm_speed.csv")
_HF_TABLE = Path(__file__).with_name("hf_models.csv")

_TARGET = "autoft.backbones:build"
IMAGE_TASKS = ("image-classification",)
TEXT_TASKS = ("text-classification",)
_GRIDS = (
    (re.compile(r"botnet|coat_(mini|small|tiny)|coatnet|coatnext|efficientformerv2|gcvit|lambda_resnet|maxx?vit"), 32),
    (re.compile(r"hiera_\w+_(224|256)"), 32),
    (re.compile(r"levit_|nest_"), 16),
)
"""Families of timm that are built for one size, and take another only if it is a multiple of this; found by trying."""
_PATCH = re.compile(r"_patch(\d+)")
"""In a name, the side of the patches: of a picture that is no multiple, timm leaves the rest at two edges unseen."""
_OFFSETS = {"bert": 0, "distilbert": 0, "electra": 0, "albert": 0, "roberta": 2, "xlm-roberta": 2, "mpnet": 2}
"""Encoders with one vector for each position, and how many of those are for no token: they read no longer texts."""
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")

ORDERS = ("parameters", "input_size", "features", "accuracy", "images_per_second", "gmacs")
"""Facts that backbones can be ranked by."""
PRETRAINED_ON = {
    "imagenet": ("in1k", "in12k", "in21k", "in22k"),
    "imagenet-1k": ("in1k",),
    "imagenet-12k": ("in12k",),
    "imagenet-21k": ("in21k", "in22k"),
    "laion2b": ("laion2b",),
    "lvd142m": ("lvd142m",),
    "lvd1689m": ("lvd1689m",),
    "openai": ("openai",),
    "webli": ("webli",),
}
"""Words of a pretrained tag that say what the weights were trained on, the fine-tune before ours included."""

DEFAULT_MAX_LENGTH = 128

_WEIGHTS = Argument(
    name="weights",
    type="str",
    default=None,
    optional=True,
    description="Path of local weights; none: random weights; null: a package's, the cache's or the hub's.",
)
_DROP_PATH = Argument(
    name="drop_path",
    type="float",
    default=0.0,
    low=0,
    high=0.9,
    description="Probability of skipping a residual branch.",
)
_NO_DROP_PATH = Argument(
    name="drop_path",
    type="float",
    default=0.0,
    choices=(0.0,),
    description="This model has no residual branch that can be skipped.",
)
_BATCH_NORM = Argument(
    name="batch_norm",
    type="str",
    default="pretrained",
    choices=("pretrained", "batch"),
    description="What batch norms train on: their pretrained statistics, which stay, while their weights learn; or "
    "those of each batch, of which they keep a running mean, as fresh batch norms do in any case.",
)
_NO_BATCH_NORM = replace(_BATCH_NORM, choices=("pretrained",), description="This model has no batch norms.")
_POOLING = Argument(
    name="pooling",
    type="str",
    default=None,
    choices=("mean", "cls", "attention"),
    optional=True,
    description="Features of a picture: its places' mean, its class token, or attention by a query that is learned "
    "with the head and starts as the mean; null: the model's own.",
)
_POOLING_OF_PLACES = replace(_POOLING, choices=("mean", "attention"))
"""Of a model that has no class token."""
MIN_LENGTH = 4
_SMALLEST = 16
"""Side of the smallest pictures that are asked for."""


def _max_length(longest: int) -> Argument:
    return Argument(
        name="max_length",
        type="int",
        default=min(DEFAULT_MAX_LENGTH, longest),
        low=MIN_LENGTH,
        high=longest,
        description="Tokens of a text that are read, special ones included.",
    )


_TEXT_ARGUMENTS = (
    _max_length(131072),
    Argument(
        name="pooling",
        type="str",
        default="mean",
        choices=("mean", "cls", "attention"),
        description="Features of a text: its tokens' mean, the first token's, or attention by a query that is learned "
        "with the head and starts as the mean.",
    ),
    Argument(
        name="dropout",
        type="float",
        default=None,
        low=0,
        high=0.9,
        optional=True,
        description="Dropout in embeddings, layers and attention; null: the model's own.",
    ),
)
_NO_DROPOUT = replace(_TEXT_ARGUMENTS[-1], choices=(None,), description="This model has no dropout.")


def entries() -> Iterator[Entry]:
    """Yield the backbones with published facts: timm's models in their order, then known encoders of the hub."""
    for name in _timm_rows():
        yield entry(f"timm:{name}")
    for name in _hf_rows():
        yield entry(f"hf:{name}")


def published(patterns: Sequence[str]) -> Iterator[Json]:
    """Yield the facts of each backbone that matches a pattern such as "timm:resnet*", in the order of the tables.

    A timm model has a row for each pretrained tag, the default first. A pattern is for the model's name, with the tag
    if it has a dot; `tagged` says that it had. `pretrained` is the tag, "hub" for an encoder of the hub, or "".
    """
    whole = [pattern for pattern in patterns if "." in pattern]
    bare = [pattern for pattern in patterns if "." not in pattern]
    for name, rows in _timm_rows().items():
        model = f"timm:{name}"
        fits = any(fnmatchcase(model, pattern) for pattern in bare)
        for row in rows:
            full = f"{model}.{row['tag']}" if row["tag"] else model
            tagged = any(fnmatchcase(full, pattern) for pattern in whole)
            if fits or tagged:
                yield {
                    "name": full,
                    "model": model,
                    "tagged": tagged,
                    "pretrained": row["tag"] if row["hub"] else "",
                    "tasks": IMAGE_TASKS,
                    "parameters": int(row["parameters"]),
                    "input_size": int(row["input_size"] or DEFAULT_INPUT_SIZE),
                    "features": int(row["features"]),
                    **_measured(row),
                }
    for name in _hf_rows():
        if any(fnmatchcase(f"hf:{name}", pattern) for pattern in patterns):
            facts = _hf_entry(name).facts
            is_image = facts["input"] == "image"
            yield {
                "name": f"hf:{name}",
                "model": f"hf:{name}",
                "tagged": False,
                "pretrained": "hub",
                "tasks": IMAGE_TASKS if is_image else TEXT_TASKS,
                "parameters": facts["parameters"],
                "input_size": facts.get("input_size"),
                "features": facts["features"],
                **({"accuracy": facts["accuracy"]} if "accuracy" in facts else {}),
            }


def _measured(row: dict[str, str]) -> Json:
    """Return what is known of a timm model's pretrained tag beside its shape; what is not known is left out.

    `accuracy` is top-1 on ImageNet-1k in per cent, at pictures of `accuracy_size`; `images_per_second` and `gmacs` are
    at its own input size.
    """
    name, size = row["name"], row["input_size"] or str(DEFAULT_INPUT_SIZE)
    facts: Json = {}
    result, speed = _results().get((name, row["tag"])), _speeds().get((name, size))
    if result is not None:
        facts["accuracy"], facts["accuracy_size"] = float(result["top1"]), int(result["image_size"])
    if speed is not None:
        facts["images_per_second"] = float(speed["images_per_second"])
    facts["gmacs"] = float(row["gmacs"])
    return facts


def arguments(library: str, *, task: str | None = None) -> list[Argument]:
    """Return the settings of the backbones of a library, "timm" or "hf", of those for a task alone if it is given."""
    image = [_input_size(DEFAULT_INPUT_SIZE), _DROP_PATH, _BATCH_NORM] if task is None or task in IMAGE_TASKS else []
    if library == "timm":
        return [_WEIGHTS, *image, *([_POOLING] if image else [])]
    text = list(_TEXT_ARGUMENTS) if task is None or task in TEXT_TASKS else []
    return [_WEIGHTS, *image, *text]


def entry(name: str) -> Entry:
    """Return the entry of a backbone's name, "timm:NAME", "timm:NAME.TAG" or "hf:HUB_NAME_OR_FOLDER".

    An hf name whose model type cannot be known without network has the settings of pictures and texts alike. A folder
    that is on another machine alone is known by the run that was read (see `folders.remember`).

    Raises:
        ConfigError: If there is no such model, or a folder holds none; gives the nearest name.
    """
    library, _, model = name.partition(":")
    if library == "timm" and model:
        return _timm_entry(model)
    if library == "hf" and model:
        return _hf_entry(model)
    known = [f"timm:{model}" for model in _timm_rows()] + [f"hf:{model}" for model in _hf_rows()]
    hint = f" Did you mean 'timm:{name}'?" if name in _timm_rows() else nearest(name, known)
    raise ConfigError(
        f"Unknown backbone '{name}'; needed is timm:NAME or hf:HUB_NAME_OR_FOLDER.{hint} "
        "`autoft list backbones` shows all."
    )


@cache
def _timm_rows() -> dict[str, list[dict[str, str]]]:
    """Rows by the model's name, the default tag first."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in table(TIMM_TABLE):
        rows.setdefault(row["name"], []).append(row)
    return rows


@cache
def _results() -> dict[tuple[str, str], dict[str, str]]:
    """By name and tag."""
    return {(row["name"], row["tag"]): row for row in table(_RESULTS_TABLE)}


@cache
def _speeds() -> dict[tuple[str, str], dict[str, str]]:
    """By name and the pictures' size."""
    return {(row["name"], row["image_size"]): row for row in table(_SPEED_TABLE)}


@cache
def _hf_rows() -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in table(_HF_TABLE)}


@cache
def _hf_rows_by_old_name() -> dict[str, dict[str, str]]:
    """By the name without an owner: the hub still knows its first models by these ("bert-base-uncased")."""
    return {name.rpartition("/")[2]: row for name, row in _hf_rows().items()}


@cache
def _timm_version() -> str:
    with TIMM_TABLE.open(encoding="utf-8") as file:
        return file.readline().strip("# \n").partition(";")[0]


@cache
def _timm_entry(model: str) -> Entry:
    name, _, tag = model.partition(".")
    rows = _timm_rows().get(name)
    if rows is None:
        hint = nearest(f"timm:{name}", [f"timm:{known}" for known in _timm_rows()])
        raise ConfigError(f"Unknown backbone 'timm:{model}'.{hint} `autoft list backbones` shows all.")
    tags = [row["tag"] for row in rows if row["tag"]]
    if tag and tag not in tags:
        allowed = f" Allowed: {', '.join(tags)}" if tags else " It has no pretrained weights."
        raise ConfigError(f"timm:{name} has no pretrained tag '{tag}'.{nearest(tag, tags)}{allowed}")
    row = next((row for row in rows if row["tag"] == tag), rows[0])
    size = int(row["input_size"] or DEFAULT_INPUT_SIZE)
    facts: Json = {
        "input": "image",
        "parameters": int(row["parameters"]),
        "input_size": size,
        "fixed_size": row["fixed_size"] == "1",
        "features": int(row["features"]),
        "pooled": row["pooled"] == "1",
        "drop_path": row["drop_path"] == "1",
        "hub": row["hub"] or None,
        "default_tag": rows[0]["tag"],
        "tags": tags,
        **{name: int(row[name]) for name in ("groups", "linears", "attention_linears", "batch_norms")},
        "cls_token": row["cls_token"] == "1",
        **_measured(row),
    }
    return Entry(
        kind="backbone",
        name=f"timm:{model}",
        target=_TARGET,
        description=f"{_count(facts['parameters'])} parameters, pictures of {size} px"
        + (f", pretrained: {row['tag']}." if row["tag"] else ", no pretrained weights."),
        source=_timm_version(),
        arguments=(
            _WEIGHTS,
            _input_size(size, _multiple(name, size, facts)),
            _DROP_PATH if facts["drop_path"] else _NO_DROP_PATH,
            _BATCH_NORM if facts["batch_norms"] else _NO_BATCH_NORM,
            _POOLING_OF_PLACES if row["cls_token"] == "0" else _POOLING,
        ),
        tasks=IMAGE_TASKS,
        facts=facts,
    )


def _hf_entry(model: str) -> Entry:
    if (folder := folder_of(model)) is not None:
        return _folder_entry(model, read_config(model, folder), folder.resolve())
    if (config := elsewhere(model)) is not None:
        return _folder_entry(model, config, None)
    if _HUB_NAME.fullmatch(model) is None or model.startswith(("./", "../")):
        raise ConfigError(f"The backbone 'hf:{model}' is no folder on this machine, and no name on the hub (ORG/NAME).")
    row = _hf_rows().get(model) or _hf_rows_by_old_name().get(model)
    if row is None:
        return _of_input(f"hf:{model}", {"input": None, "hub": model}, "An encoder of the hub.", "Hugging Face")
    kind = hf_types.input_of(row["model_type"])
    sizes = {"image_size": int(row["size"])} if kind == "image" else {}
    facts: Json = {
        "input": kind,
        "parameters": int(row["parameters"]),
        "features": int(row["features"]),
        "hub": model,
        "model_type": row["model_type"],
    }
    if kind == "text":
        facts["max_length"] = int(row["size"])
    facts |= hf_types.facts_of(row["model_type"], sizes)
    facts |= {name: int(row[name]) for name in ("groups", "linears", "attention_linears")}
    if row["accuracy"]:
        facts["accuracy"] = float(row["accuracy"])
    if row["model_type"] in _OFFSETS:
        facts["longest"] = int(row["size"])
    reads = f"pictures of {row['size']} px" if kind == "image" else f"texts of up to {row['size']} tokens"
    return _of_input(f"hf:{model}", facts, f"{_count(facts['parameters'])} parameters, {reads}.", row["source"])


def _folder_entry(model: str, config: Json, folder: Path | None) -> Entry:
    """Return the entry of a local folder by its configuration; `folder` is None where it is not on this machine."""
    model_type = config["model_type"]
    facts = hf_types.facts_of(model_type, config)
    if WHOLE not in config:  # Its own settings may be others than the type's.
        facts = {name: fact for name, fact in facts.items() if name not in ("dropout", "multiple_of", "smallest")}
    facts |= {
        "input": hf_types.input_of(model_type),
        "folder": None if folder is None else str(folder),
        "model_type": model_type,
    }
    positions = config.get("max_position_embeddings", 0)
    if model_type in _OFFSETS and positions > _OFFSETS[model_type] + MIN_LENGTH:
        facts["longest"] = positions - _OFFSETS[model_type]
    return _of_input(f"hf:{model}", facts, f"A local {model_type} model.", "local folder")


def _of_input(name: str, facts: Json, description: str, source: str) -> Entry:
    """Return the entry of a model whose `input` is "image", "text", or None where that is not known yet."""
    kind = facts["input"]
    image, text = _image_arguments(facts), _text_arguments(facts)
    return Entry(
        kind="backbone",
        name=name,
        target=_TARGET,
        description=description,
        source=source,
        arguments=(_WEIGHTS, *(image if kind != "text" else ()), *(text if kind != "image" else ())),
        tasks={"image": IMAGE_TASKS, "text": TEXT_TASKS}.get(kind, ()),
        facts=facts,
    )


def _image_arguments(facts: Json) -> tuple[Argument, ...]:
    """Return the settings of a model of pictures by its facts; what is not known of it may be set."""
    size = facts.get("input_size", DEFAULT_INPUT_SIZE)
    return (
        _one_size(size)
        if facts.get("one_size")
        else _input_size(size, facts.get("multiple_of"), facts.get("smallest", _SMALLEST)),
        _DROP_PATH if facts.get("drop_path", True) else _NO_DROP_PATH,
        _BATCH_NORM if facts.get("batch_norms", True) else _NO_BATCH_NORM,
    )


def _text_arguments(facts: Json) -> tuple[Argument, ...]:
    """Return the settings of a model of texts by its facts; what is not known of it may be set."""
    length, pooling, dropout = _TEXT_ARGUMENTS
    return (
        _max_length(facts["longest"]) if "longest" in facts else length,
        pooling,
        dropout if hf_types.dropouts_of(facts.get("model_type", "")) != {} else _NO_DROPOUT,
    )


def _multiple(name: str, size: int, facts: Json) -> int | None:
    """Return what the size of a model's pictures must be a multiple of, where that is known."""
    patch = _PATCH.search(name)
    found = next((multiple for family, multiple in _GRIDS if family.match(name)), int(patch[1]) if patch else None)
    return found if found is not None and facts["fixed_size"] and size % found == 0 else None


@cache
def _input_size(default: int, multiple_of: int | None = None, smallest: int = _SMALLEST) -> Argument:
    return Argument(
        name="input_size",
        type="int",
        default=default,
        low=min(smallest, default),
        high=2048,
        multiple_of=multiple_of,
        description="Side of the square picture, in pixels; the default is the pretrained model's own.",
    )


def _one_size(size: int) -> Argument:
    return replace(_input_size(size), choices=(size,), description="This model takes pictures of one size alone.")


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.1f}M"
