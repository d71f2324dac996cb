"""The text of a space: found by its shipped name or its path, what it extends laid under it."""

import importlib.resources
from importlib.resources.abc import Traversable
from pathlib import Path

from autoft.core.errors import ConfigError, SpaceError, nearest
from autoft.core.paths import local_path
from autoft.space.extend import resolve_extends
from autoft.space.nodes import Node, Problems, place
from autoft.space.yaml_text import parse_yaml

_SUFFIXES = (".yaml", ".yml", ".json")
_MAX_BYTES = 16 << 20


def shipped_folder() -> Traversable:
    """Return the folder of what ships for spaces: inside the installed wheel, else beside the package's checkout."""
    package = importlib.resources.files("autoft")
    inside = package.joinpath("_search_spaces")
    return inside if inside.is_dir() else Path(str(package)).resolve().parent / "search_spaces"


def shipped_spaces() -> list[str]:
    """Return the names of the spaces that ship, such as "image-classification/quick"."""
    root = shipped_folder()
    if not root.is_dir():
        return []
    return sorted(
        f"{folder.name}/{file.name.removesuffix('.yaml')}"
        for folder in root.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    )


def read_space(name: str, problems: Problems) -> Node:
    """Return the nodes of a space by its shipped name or its path, with its `extends` resolved.

    Raises:
        SpaceError: If there is no such space, or it is no YAML; what can be gone on with is noted in `problems`.
    """
    return _read(name, None, Path(), (), problems)


def with_extended(root: Node, problems: Problems) -> Node:
    """Return a space that stands in no file laid over the space that it extends, a path being from the working folder.

    What is wrong is noted in `problems`.
    """
    return resolve_extends(
        root, lambda target, path: _read(str(target.value), target, Path(), path, problems), (), problems
    )


def _read(name: str, asked: Node | None, folder: Path, above: tuple[str, ...], problems: Problems) -> Node:
    """Return the nodes of a space with its `extends` resolved.

    Args:
        name: Shipped name or path.
        asked: The `extends:` that names it; None: the person did.
        folder: What a relative path starts from.
        above: Identities of the spaces on the way here.
        problems: Takes what can be gone on with.
    """
    text, file, identity, inner_folder = _find(name, asked, folder)
    if identity in above:
        chain = " -> ".join([*above[above.index(identity) :], identity])
        raise SpaceError([f"{place('extends', asked)} goes round: {chain}."])
    root = parse_yaml(text, file=file, problems=problems)
    return resolve_extends(
        root,
        lambda target, path: _read(str(target.value), target, inner_folder, path, problems),
        (*above, identity),
        problems,
    )


def _find(name: str, asked: Node | None, folder: Path) -> tuple[bytes, str, str, Path]:
    """Return content, name for errors, identity and folder of a space.

    Raises:
        SpaceError: If there is none of that name, or it is a folder or cannot be read.
    """
    at = f" at {place('extends', asked)}" if asked is not None else ""
    shipped = shipped_spaces()
    if name in shipped:
        return shipped_folder().joinpath(f"{name}.yaml").read_bytes(), f"{name}.yaml", name, Path()
    if not name:
        raise SpaceError([f"The name of the space{at} is empty. `autoft list spaces` shows all."])
    path = folder / _expanded(name, at)
    if path.is_dir():
        raise SpaceError([f"The space '{name}'{at} is a folder, not a YAML file.{nearest(name, shipped)}"])
    if not path.exists():
        if name.endswith(_SUFFIXES) or name.startswith((".", "/", "~")):
            raise SpaceError([f"There is no file '{path}' for the space{at}."])
        raise SpaceError([f"Unknown space '{name}'{at}.{nearest(name, shipped)} `autoft list spaces` shows all."])
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise SpaceError([f"The space '{path}'{at} is no file of at most {_MAX_BYTES >> 20} MB."])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpaceError([f"The space '{path}'{at} cannot be read: {error.strerror}."]) from error
    return content, str(path), str(path.resolve()), path.parent


def _expanded(name: str, at: str) -> Path:
    """Return the path that a name means.

    Raises:
        SpaceError: If it cannot be the name of a file.
    """
    try:
        local_path(name)
        return Path(name).expanduser()
    except ConfigError as error:
        raise SpaceError([f"The space '{name[:80]}'{at} cannot be read: {error}"]) from error
