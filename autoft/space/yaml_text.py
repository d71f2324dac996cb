"""YAML text to nodes and back: line numbers kept, `1e-5` a number, `yes`, `no`, `on` and `off` texts.

Scalars follow the core schema of YAML 1.2, where PyYAML follows 1.1; tags are refused, so nothing is executed.
"""

import json
import re
from typing import Any

import yaml

from autoft.core.errors import SpaceError
from autoft.core.jsonable import Json
from autoft.space.nodes import LARGEST, Node, Problems

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_TAG = "tag:yaml.org,2002:"
_TAGS = {
    f"{_TAG}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}
"""What PyYAML gives to what has no tag."""
# Another escape is passed over whole: what follows a backslash that is itself escaped is none.
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u]")
_MAX_DIGITS = 4000
_MAX_NODES = 200_000
"""Aliases can make a short text grow without bound."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_scalar(text: str) -> Any:
    """Return the value of a plain (unquoted) YAML scalar."""
    if text in _WORDS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    # Python reads no whole number of many thousand digits.
    if _INT.fullmatch(text) and len(text) <= _MAX_DIGITS and abs(number := int(text)) <= LARGEST:
        return number
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    return float("nan") if text in (".nan", ".NaN", ".NAN") else text


def parse_yaml(text: str | bytes, *, file: str, problems: Problems | None = None) -> Node:
    """Return the nodes of a YAML (or JSON) text.

    Args:
        text: One document.
        file: The name that errors give.
        problems: Takes repeated keys, keys that are no words, and tags, where there is a node all the same; None:
            they are raised.

    Raises:
        SpaceError: If it is not YAML, is empty, or has endless aliases.
    """
    given = Problems() if problems is None else problems
    root = _composed(_with_pairs_joined(text) if file.endswith(".json") else text, file)
    reader = _Reader(file, given)
    try:
        node = reader.node(root, root.start_mark.line, ())
    except RecursionError as error:
        raise SpaceError([f"{file} is nested too deeply to be a space."]) from error
    if problems is None or reader.is_endless:
        given.check()
    return node


def _composed(text: str | bytes, file: str) -> yaml.Node:
    loader = None
    try:
        loader = _Loader(text)
        root: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        detail = " ".join(part for part in (error.context, error.problem) if part)
        has_tab = error.problem is not None and "cannot start any token" in error.problem and _is_tab(text, mark)
        hint = " Indent with spaces, not with tabs." if has_tab else ""
        raise SpaceError([f"{file}{line} is not valid YAML: {detail}.{hint}"]) from error
    except RecursionError as error:
        raise SpaceError([f"{file} is nested too deeply to be a space."]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpaceError([f"{file} is not a YAML text: {str(error).splitlines()[0]}."]) from error
    finally:
        if loader is not None:
            loader.dispose()
    if root is None:
        raise SpaceError([f"{file} is empty; a space has at least `task:`."])
    return root


def _is_tab(text: str | bytes, mark: yaml.Mark | None) -> bool:
    lines = (text.decode(errors="replace") if isinstance(text, bytes) else text).splitlines()
    return mark is not None and mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t"


def _with_pairs_joined(text: str | bytes) -> str | bytes:
    """Return a JSON text with each surrogate pair, which YAML does not know, as the one character that it means."""
    if isinstance(text, bytes):
        return _PAIR.sub(lambda found: _joined(found[0]), text)
    return text


def _joined(escape: bytes) -> bytes:
    return str(json.loads(b'"' + escape + b'"')).encode() if escape.startswith(b"\\u") else escape


class _Reader:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, file: str, problems: Problems) -> None:
        self.file = file
        self.problems = problems
        self.count = 0
        self.is_endless = False

    def note(self, line: int, problem: str) -> None:
        where = f"{self.file}:{line + 1}"
        self.problems.say(f"{where} {problem}", Node(None, where))

    def node(self, source: yaml.Node, line: int, above: tuple[int, ...]) -> Node:
        where = f"{self.file}:{line + 1}"
        self.count += 1
        if id(source) in above or self.count > _MAX_NODES:
            if not self.is_endless:
                self.note(line, "has an alias that contains itself or grows without end.")
            self.is_endless = True
            return Node(None, where)
        is_told = source.tag not in _TAGS
        if is_told:
            self.note(line, f"has the tag '{source.tag}'; a space takes plain YAML without tags.")
        above = (*above, id(source))
        if isinstance(source, yaml.MappingNode):
            return Node(self.entries(source, above), where, is_told)
        if isinstance(source, yaml.SequenceNode):
            return Node(tuple(self.node(item, item.start_mark.line, above) for item in source.value), where, is_told)
        is_quoted = isinstance(source, yaml.ScalarNode) and source.style
        return Node(source.value if is_quoted else read_scalar(source.value), where, is_told)

    def entries(self, source: yaml.MappingNode, above: tuple[int, ...]) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in source.value:
            line = key.start_mark.line
            if not isinstance(key, yaml.ScalarNode):
                self.note(line, "has a key that is a map or a list; keys are words.")
            elif key.value == "<<" and not key.style:
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in reversed(parts):
                    if isinstance(part, yaml.MappingNode) and id(part) not in above:
                        merged |= self.entries(part, (*above, id(part)))
                    else:
                        self.note(line, "merges ('<<') something that is no other map.")
            elif key.value in entries:
                first = entries[key.value].where
                self.note(line, f"has the key '{key.value}' again, after {first}.")
            else:
                entries[key.value] = self.node(value, line, above)
        return merged | entries


class _Dumper(yaml.SafeDumper):
    """Quotes what our reader would not read as a text; writes a domain on one line."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style)
        if all(isinstance(value, yaml.ScalarNode) or _is_leaf(value) for _, value in node.value):
            node.flow_style = True
        return node


def _is_leaf(node: yaml.Node) -> bool:
    """Return whether a list or map holds scalars alone."""
    inner = [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else node.value
    return all(isinstance(value, yaml.ScalarNode) for value in inner)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(read_scalar(text), str) and text != "<<" else '"'
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(values: Json) -> str:
    """Return JSON values as YAML that `parse_yaml` reads back the same; leaves on one line, order kept."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
