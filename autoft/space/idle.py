"""Settings that do nothing in the only mode that a space has."""

from collections.abc import Iterator, Mapping
from typing import Final

from autoft.core.rules import FROZEN_MODES
from autoft.space.nodes import Node, Problems, place
from autoft.space.tree import Block, Section

_DROPS: Final = ("drop_path", "dropout")
"""Settings of a backbone that act only where it trains."""


def check_idle(finetune: Section, entries: Mapping[str, Node], problems: Problems, *, own: str) -> None:
    """Note each dropping within the backbone where all modes freeze it.

    Where some mode trains it, or the mode was narrowed, a trial's log warns instead: the space is of use as it is.

    Args:
        finetune: The section `finetune`.
        entries: The sections as written.
        problems: Takes what is found.
        own: The file that the person wrote: what a space that is extended searches is no mistake of theirs.
    """
    if not isinstance(finetune, Block) or any(branch.name not in FROZEN_MODES for branch in finetune.branches):
        return
    modes = place("finetune.mode", entries.get("finetune"))
    for branch in _written(entries.get("backbone")):
        for name in _DROPS:
            setting = (branch.map or {}).get(name)
            if setting is None or not (setting.map or setting.value) or setting.where.rpartition(":")[0] != own:
                continue
            problem = f"has no effect: {modes} is head, which freezes the backbone and drops nothing within it"
            problems.add(f"backbone.{name}", problem, setting, hint=" Leave it out, or search a mode that trains.")


def _written(backbone: Node | None) -> Iterator[Node]:
    if backbone is not None:
        yield from (backbone.map or {}).get("choice", Node((backbone,))).items or ()
