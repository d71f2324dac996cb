"""`--config search.yaml`: the options of `autoft search` in a file; those on the line win."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.space.nodes import Node

REPEATED = ("learn_from", "limit", "metric")
"""Options that may be a list."""

META_KEY = "autoft.cli.searchfile.set"
"""Under this key the context's meta holds the file's `set:`."""


def apply_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the file at `path` the defaults of the command's options.

    Raises:
        ConfigError: If the file cannot be read, or a key is unknown; names file and line.
        SpaceError: If it is no YAML; names file and line.
    """
    if path is None or context.resilient_parsing:
        return path
    allowed = sorted({parameter.name for parameter in context.command.params if parameter.name} - {"config", "help"})
    allowed = ["set" if name == "set_" else name for name in allowed]
    defaults: Json = {}
    for key, node in _entries(path).items():
        if key not in allowed:
            close = nearest(key, allowed) or nearest(key.strip("-").replace("-", "_"), allowed)
            raise ConfigError(f"Unknown key '{key}' at {node.where}.{close} Allowed: {', '.join(allowed)}.")
        if node.plain() is None:
            continue
        if key == "set":
            context.meta[META_KEY] = _overrides(node)
        elif key in REPEATED:
            defaults[key] = _texts(node, key)
        else:
            defaults[key] = _text(node, key)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _entries(path: Path) -> dict[str, "Node"]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file '{path}': {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"Cannot read the configuration file '{path}': it is no UTF-8 text.") from error
    if all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines()):
        return {}
    from autoft.space.yaml_text import parse_yaml

    entries = parse_yaml(text, file=str(path)).map
    if entries is None:
        raise ConfigError(f"{path}:1 is no map; a configuration file has one `option: value` a line.")
    return entries


def _overrides(node: "Node") -> Json:
    if node.map is None:
        raise ConfigError(f"'set' at {node.where} must be a map of path: value, not {node.plain()!r}.")
    return {path: setting.plain() for path, setting in node.map.items()}


def _texts(node: "Node", key: str) -> list[str]:
    """Return the values of an option that may be repeated; those of a map as `name=value`."""
    if node.map is not None and key == "limit":
        return [f"{name}={_text(value, key)}" for name, value in node.map.items()]
    return [_text(item, key) for item in (node.items if node.items is not None else (node,))]


def _text(node: "Node", key: str) -> str:
    value = node.plain()
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ConfigError(f"'{key}' at {node.where} must be one value, not {value!r}.")
    return str(value)
