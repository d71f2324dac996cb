"""The JSON Schema of a space, made from the catalog: by it an editor completes and checks the YAML.

It knows names, settings, types and ranges. What needs more than one place of the file (bounds the right way round,
`when:`, `forbid:`, a prior within its range) is for `autoft space check` alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from autoft.core import catalog
from autoft.core.catalog import Argument, Entry
from autoft.core.entries import backbones
from autoft.core.jsonable import Json
from autoft.core.recipe import BLOCKS, SCALARS, Block, inner_block, sections
from autoft.space.conditions import COMPARISONS
from autoft.space.normals import NORMALS
from autoft.space.query import LIMITS
from autoft.space.ranges import RANGES
from autoft.space.schema_sharing import with_shared_parts

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_LABEL: Final[Json] = {
    "as": {"type": "string", "pattern": r"^[^\s\[\]]+$", "description": "Label, where two branches have one name."}
}
_BEFORE_SEARCH: Final = "probe"
"""A mode that no space may name."""


def space_schema(task: str | None = None) -> Json:
    """Return the schema of spaces for one task, or for any.

    Raises:
        ConfigError: If there is no such task.
    """
    tasks = [entry.name for entry in catalog.entries("task")] if task is None else [catalog.entry("task", task).name]
    made = {name: _block(block, task) for name, block in BLOCKS.items()} | {
        name: _setting(argument, task) for name, argument in SCALARS.items()
    }
    definitions: Json = dict(_shared())
    for name in sections():
        definitions[name] = made[name]
        definitions[f"{name}_change"] = {"anyOf": [_ref(name), _partial(name, task)]}
    top: Json = {
        "task": {"enum": tasks, "description": "What is to be predicted, and from what."},
        "extends": {
            "type": "string",
            "minLength": 1,
            "description": "Name or path of the space that this one changes.",
        },
        "description": {"type": "string", "description": "One line for a reader."},
        "budget": _object({key: {"type": "integer", "minimum": 1} for key in ("trials", "epochs")}),
        "forbid": {"type": "array", "items": _ref("conditions"), "description": "Combinations that no draw holds."},
    }
    schema = {
        "$schema": DRAFT,
        "title": "A search space of autoft" + (f" for {task}" if task else ""),
        "type": "object",
        "properties": top | dict.fromkeys(sections(), True),
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {name: _ref(f"{name}_change") for name in sections()}},
        "else": {"properties": {name: _ref(name) for name in sections()}, "required": [] if task else ["task"]},
        "$defs": definitions,
    }
    return with_shared_parts(schema)


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _object(properties: Json, *, required: Sequence[str] = ()) -> Json:
    found: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | {"required": list(required)} if required else found


def _shared() -> Json:
    """Return what stands in many places."""
    scalar = {"type": ["number", "string", "boolean", "null"]}
    several = {"anyOf": [scalar, {"type": "array", "items": scalar, "minItems": 1}]}
    words = {"in": several, "not": several} | {word: {"type": "number"} for word in COMPARISONS}
    test = {"anyOf": [several, _object(words) | {"minProperties": 1}]}
    roots = "|".join(sections())
    timm = [fact["name"] for fact in backbones.published(["timm:*"])]
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    return {
        "timm_names": {"enum": sorted({name.partition(".")[0] for name in timm} | set(timm))},
        "conditions": {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {rf"^({roots})(\[[^\[\]]+\])?(\.\w+(\[[^\[\]]+\])?)*$": test},
            "additionalProperties": False,
            "description": "Path to value, list of values or comparison.",
        },
        "probabilities": {"type": "array", "items": share, "minItems": 1, "description": "One a value, 1 in all."},
    }


# Blocks


def _block(block: Block, task: str | None, names: Sequence[Any] | None = None, *, above: tuple[str, ...] = ()) -> Json:
    """Return the schema of a block: a name, a branch, or a choice of such."""
    if block.kind == "backbone":
        branch = _backbone_branch(task)
    else:
        branch = _branches(block, _entries(block, task, names), task, above)
    query = [_query(task)] if block.kind == "backbone" and not above else []
    item = {"anyOf": [*branch, *query]} if len(branch) + len(query) > 1 else branch[0]
    choice = _object(
        {
            "choice": {"type": "array", "items": item, "minItems": 1},
            "prior": {"type": "string", "description": "Label of the branch that is tried first."},
            "when": _ref("conditions"),
            "probabilities": _ref("probabilities"),
        },
        required=["choice"],
    )
    return {"anyOf": [*branch, *query, choice]}


def _entries(block: Block, task: str | None, names: Sequence[Any] | None = None) -> list[Entry]:
    return [
        entry
        for entry in catalog.entries(block.kind, task=task)
        if (names is None or entry.name in names) and not (block.kind == "finetune" and entry.name == _BEFORE_SEARCH)
    ]


def _branches(block: Block, entries: Iterable[Entry], task: str | None, above: tuple[str, ...]) -> list[Json]:
    found = list(entries)
    names = {"enum": [entry.name for entry in found], "description": f"Name of a {block.kind}."}
    branches = []
    for entry in found:
        key = {block.key: {"const": entry.name, "description": entry.description}}
        settings = _settings(entry.arguments, task, (*above, entry.name))
        branches.append(_object(key | _LABEL | settings, required=[block.key]))
    return [names, *branches]


def _backbone_branch(task: str | None) -> list[Json]:
    """Return the forms of one backbone: its name alone, or with the settings that its library's backbones have."""
    is_for = {entry: task is None or task in entry for entry in (backbones.IMAGE_TASKS, backbones.TEXT_TASKS)}
    shapes = []
    if is_for[backbones.IMAGE_TASKS]:
        shapes.append((_ref("timm_names"), backbones.arguments("timm")))
    known = [fact["name"] for fact in backbones.published(["hf:*"]) if task is None or task in fact["tasks"]]
    hub = {"anyOf": [{"enum": known}, {"type": "string", "pattern": "^hf:.+"}]}
    shapes.append((hub, backbones.arguments("hf", task=task)))
    named = [name for name, _ in shapes]
    maps = [_object({"name": name} | _LABEL | _settings(given, task, ()), required=["name"]) for name, given in shapes]
    return [*named, *maps]


def _query(task: str | None) -> Json:
    pattern = {"type": "string", "minLength": 1}
    number = {
        "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?[kMG]?$"}]
    }
    orders = [sign + name for name in backbones.ORDERS for sign in ("", "-")]
    properties: Json = {
        "query": {"anyOf": [pattern, {"type": "array", "items": pattern, "minItems": 1}]},
        **dict.fromkeys((*LIMITS, "input_size"), number),
        "pretrained": {"type": "boolean"},
        "pretrained_on": {"enum": list(backbones.PRETRAINED_ON)},
        "top": {"type": "integer", "minimum": 1},
        "by": {"enum": orders},
        "settings": _object(_settings(backbones.arguments("timm") + backbones.arguments("hf"), task, ())),
        "prior": {"type": "string"},
        "when": _ref("conditions"),
    }
    return _object(properties, required=["query"])


def _partial(name: str, task: str | None) -> Json:
    """Return what may change a section of the space that is extended, without naming a branch."""
    beside: Json = {"prior": True, "when": _ref("conditions"), "probabilities": _ref("probabilities")}
    if name in SCALARS:
        return _object(beside | {"step": {"type": "number"}, "bounds": {"type": "array"}})
    block = BLOCKS[name]
    if block.kind == "backbone":
        given = [backbones.arguments("timm") + backbones.arguments("hf")]
        beside |= _query(task)["properties"]
    else:
        given = [list(entry.arguments) for entry in _entries(block, task)]
    # A map may change part of a domain, or of a block; two entries may have a setting of one name and other bounds.
    names = dict.fromkeys(argument.name for arguments in given for argument in arguments)
    return _object(beside | dict.fromkeys(names, True)) | {"not": {"required": [block.key]}}


# Settings


def _settings(arguments: Iterable[Argument], task: str | None, above: tuple[str, ...]) -> Json:
    return {argument.name: _setting(argument, task, above) for argument in arguments}


def _setting(argument: Argument, task: str | None, above: tuple[str, ...] = ()) -> Json:
    """Return the schema of a constant, or of a domain over such constants."""
    if argument.type == "block":
        # A block of the kind that it stands in would go on without end.
        block = inner_block(argument)
        names = argument.choices or [one.name for one in _entries(block, task) if one.name not in above]
        inner = _block(block, task, names, above=(*above, argument.name))
        forms = [inner, {"type": "null"}] if argument.optional else [inner]
        return {"anyOf": forms, "description": argument.description}
    constant = _constant(argument)
    beside: Json = {"prior": constant, "when": _ref("conditions")}
    listed = {"type": "array", "items": constant, "minItems": 1, "uniqueItems": True}
    choice = {"choice": listed, "probabilities": _ref("probabilities")}
    forms = [constant, _object(choice | beside, required=["choice"])]
    if argument.type in ("float", "int") and argument.choices is None:
        forms.extend(_domains(argument, beside))
    found: Json = {"anyOf": forms, "description": argument.description}
    return found if argument.default is None else found | {"default": argument.default}


def _domains(argument: Argument, beside: Json) -> list[Json]:
    limits = {key: value for key, value in _limits(argument).items() if key != "multipleOf"}
    found = []
    for one in RANGES:
        if argument.type == "float" or one.is_whole:
            number = {"type": "integer" if one.is_whole else "number"}
            bound = number | limits | ({"exclusiveMinimum": 0} if one.is_log and limits.get("minimum", 0) <= 0 else {})
            pair = {"type": "array", "items": bound, "minItems": 2, "maxItems": 2}
            step = {"step": number | {"exclusiveMinimum": 0}}
            found.append(_object({one.form: pair} | step | beside, required=[one.form]))
    if argument.type == "float":
        spread: Json = {"type": "number", "exclusiveMinimum": 0}
        curve = {"type": "array", "prefixItems": [{"type": "number"}, spread], "minItems": 2, "maxItems": 2}
        step = {"step": spread}
        ends = {"bounds": {"type": "array", "items": {"type": ["number", "null"]}, "minItems": 2, "maxItems": 2}}
        found += [_object({one.form: curve} | ends | step | beside, required=[one.form]) for one in NORMALS]
    return found


def _constant(argument: Argument) -> Json:
    if argument.choices is not None:
        values = list(argument.choices)
        return {"enum": [*values, None] if argument.optional else values}
    kind = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}[argument.type]
    return {"type": [kind, "null"] if argument.optional else kind} | _limits(argument)


def _limits(argument: Argument) -> Json:
    found: Json = {}
    if argument.low is not None:
        found["exclusiveMinimum" if argument.low_open else "minimum"] = argument.low
    if argument.high is not None:
        found["maximum"] = argument.high
    if argument.multiple_of is not None:
        found["multipleOf"] = argument.multiple_of
    return found
