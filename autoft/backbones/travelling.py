"""Pretrained weights that no hub can give go into a run: files and folders that a person gave, or a package holds.

`weights/weights.json` in the run folder names for each backbone and its setting `weights` the files, which lie beside
it under their SHA-256; see `brought` for the machine that lacks them. A run whose machines share this one's disk has
only the listing, of the backbones that are named by a folder: their files are told from others by it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft.backbones.listing import FOLDER, TravellingWeights, file_of, files_of, read_listing, write_listing
from autoft.backbones.sources import WeightsSource
from autoft.core.entries.folders import folder_of, read_config
from autoft.core.errors import WeightsError

if TYPE_CHECKING:
    from autoft.core.storage import Store


def bring(store: "Store", sources: Iterable[tuple[str, str | None, WeightsSource]], *, travels: bool = True) -> None:
    """Put weights that no hub can give into the run in `store`; what is there already is not sent again.

    Args:
        store: The run folder.
        sources: The backbone, its setting `weights`, and where they are.
        travels: Whether the files go too; else only the hashes of backbones that are named by a folder.

    Raises:
        OSError: If the store refuses.
    """
    folder = store.within(FOLDER)
    listing: dict[tuple[str, str | None], TravellingWeights] = {}
    there: dict[str, int] | None = None
    for backbone, weights, source in sources:
        if source.path is None or source.kind not in ("file", "package") or (backbone, weights) in listing:
            continue
        names_folder = weights is None and source.kind == "file"
        if not (travels or names_folder):
            continue
        files = []
        for path in files_of(source.path) if source.path.is_dir() else [source.path]:
            file = file_of(path)
            files.append(file)
            if travels:
                there = folder.sizes() if there is None else there
                if there.get(file.stored) != file.bytes:
                    folder.upload(path, file.stored)
                    there[file.stored] = file.bytes
        listing[backbone, weights] = TravellingWeights(
            backbone=backbone,
            weights=weights,
            source=source.description,
            is_folder=source.path.is_dir(),
            files=tuple(files),
            config=read_config(backbone, source.path) if names_folder else None,
            travels=travels,
        )
    if listing:
        write_listing(folder, list(listing.values()))


def learn_folders(store: "Store", space: Any) -> None:
    """Let the catalog know the backbones of a run's space that are named by a folder, where this machine lacks it.

    Args:
        store: The run folder.
        space: Its space as JSON, of which nothing is taken for granted.

    Raises:
        FormatError: If the run's listing of them is damaged or of a newer format.
    """
    if any(folder_of(name.removeprefix("hf:")) is None for name in _hf_names(space)):
        read_listing(store.within(FOLDER))


def folder_changes(store: "Store", backbone: str) -> list[tuple[str, str | None, str | None]]:
    """Return what of a folder of this machine, which names a backbone, is not as it was when the run was laid.

    Args:
        store: The run folder.
        backbone: Of its space.

    Returns:
        Each file that is another: its name, and its SHA-256 before and now; None where it was not there.

    Raises:
        FormatError: If the run's listing is damaged or of a newer format.
    """
    found = ((one, _folder_here(one)) for one in read_listing(store.within(FOLDER)) if one.backbone == backbone)
    return [change for one, folder in found if folder is not None for change in one.changes(folder)]


def require_folders(store: "Store") -> None:
    """Find that the backbones of a run that are named by a folder of this machine are as they were when it was laid.

    Raises:
        FormatError: If the run's listing of them is damaged or of a newer format.
        WeightsError: If one is not.
    """
    for one in read_listing(store.within(FOLDER)):
        if (folder := _folder_here(one)) is not None:
            require_unchanged(one, folder)


def _folder_here(one: TravellingWeights) -> Path | None:
    """Return the folder of this machine that names a backbone, if it is named so."""
    return None if one.config is None else folder_of(one.backbone.removeprefix("hf:"))


def require_unchanged(one: TravellingWeights, folder: Path) -> None:
    """Find that a folder of this machine holds what it held when the run was laid.

    Raises:
        WeightsError: If it does not.
    """
    for name, before, now in one.changes(folder):
        how = "is new" if before is None else "is gone" if now is None else "has changed (its SHA-256 differs)"
        remedy = ", remove the folder here, since the run has brought its own," if one.travels else ""
        raise WeightsError(
            f"The folder '{folder}' of the backbone {one.backbone} is not as it was when the search began: its {name} "
            f"{how}; put it back{remedy} or start a new search."
        )


def _hf_names(value: Any) -> set[str]:
    """Return the names of Hugging Face's backbones anywhere in a JSON value."""
    if isinstance(value, str):
        return {value} if value.startswith("hf:") else set()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for part in parts for name in _hf_names(part)}
