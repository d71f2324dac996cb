"""Where the text of a space names weights of backbones."""

from collections.abc import Iterator

from autoft.space.nodes import Node


def named_weights(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield each text under `weights` in the section `backbone`, and the backbone's name; "" where it has none there.

    Args:
        root: The whole space, as it was written.
    """
    section = (root.map or {}).get("backbone")
    if section is not None:
        yield from _named(section, "")


def _named(node: Node, name: str) -> Iterator[tuple[str, Node]]:
    entries = node.map or {}
    if "name" in entries:
        name = str(entries["name"].value)
    for key, inner in entries.items():
        if key == "weights":
            choice = (inner.map or {}).get("choice", inner)
            yield from ((name, one) for one in choice.items or (choice,) if isinstance(one.value, str))
        else:
            yield from _named(inner, name)
    for inner in node.items or ():
        yield from _named(inner, name)
