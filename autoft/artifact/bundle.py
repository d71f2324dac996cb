"""The bundle: the files from which a model predicts.

config.yaml (the trial's configuration and what it reported), model.safetensors, preprocessing.json, labels.json,
metrics.json and README.md, the model card. `config.yaml` is written last: a folder without it is no bundle. It ends
with the SHA-256 of every file, its own text before that included, so a damaged bundle is told from a whole one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import yaml
from torch import Tensor

from autoft.artifact.card import model_card
from autoft.core.configs import TrialConfig, check_format
from autoft.core.errors import FormatError
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.storage import Store

FILES = ("model.safetensors", "preprocessing.json", "labels.json", "metrics.json", "README.md", "config.yaml")
HASHED = ("model.safetensors", "preprocessing.json", "labels.json", "metrics.json")
"""Files that must be as they were written."""
_HASHES = "\nfiles:\n"
"""Where config.yaml's own text ends and the hashes begin."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A model as files hold it."""

    config: TrialConfig
    reported: Json
    """`trial`, `epoch` (of these weights), `epochs` (every EpochResult), `weights_sha256` and `num_rows` by split."""
    tensors: Mapping[str, Tensor]
    """The network's weights by name, on the processor."""
    preprocessing: Json
    """`inputs` (the backbone's preprocessing) and `architecture`."""
    labels: tuple[str, ...]
    metrics: Json
    """`val` and `test`: metrics by name; `test` holds an interval for each."""


def config_yaml(config: TrialConfig, reported: Json) -> str:
    """Return the text of config.yaml: the configuration, then under `reported` what it gave."""
    values = {**config.to_json(), "recipe": complete(config.recipe, task=config.task), "reported": reported}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    return f"# `autoft reproduce` trains this configuration again and compares what it gives with `reported`.\n{text}"


def parse_config(text: str, *, where: str) -> tuple[TrialConfig, Json]:
    """Read config.yaml.

    Raises:
        FormatError: If it is none, is damaged, or is of a newer format.
    """
    values = _yaml_map(text, where=where)
    check_format(values, where=where)
    reported = values.pop("reported", {})
    values.pop("files", None)
    if not isinstance(reported, dict):
        raise FormatError(f"'reported' in {where} must be a map, not {type(reported).__name__}.")
    return TrialConfig.from_json(values, where=where), reported


def _yaml_map(text: str, *, where: str) -> Json:
    try:
        has_aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader))
        values = None if has_aliases else yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FormatError(f"{where} is no YAML: {' '.join(str(error).split())}.") from error
    if has_aliases:
        raise FormatError(f"{where} is no configuration that autoft wrote: it has YAML aliases.")
    if not isinstance(values, dict):
        raise FormatError(f"{where} is no configuration of a trial.")
    return values


def write_bundle(store: Store, bundle: Bundle) -> None:
    """Write a bundle into `store`; an old one in the same place is replaced, and is never half of each."""
    store.delete("config.yaml")
    contents = {
        "model.safetensors": safetensors.torch.save({name: part.contiguous() for name, part in bundle.tensors.items()}),
        "preprocessing.json": _json_bytes(bundle.preprocessing),
        "labels.json": _json_bytes(list(bundle.labels)),
        "metrics.json": _json_bytes(bundle.metrics),
    }
    for name in HASHED:
        store.write(name, contents[name])
    store.write("README.md", model_card(bundle.config, bundle.reported, bundle.labels, bundle.metrics).encode())
    contents["config.yaml"] = config_yaml(bundle.config, bundle.reported).encode()
    hashes = "".join(f"  {name}: {hashlib.sha256(content).hexdigest()}\n" for name, content in contents.items())
    store.write("config.yaml", contents["config.yaml"] + f"{_HASHES[1:]}{hashes}".encode())


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()


def read_bundle(store: Store) -> Bundle:
    """Read a bundle; nothing in it is executed or unpickled.

    Raises:
        FormatError: If the folder is no bundle, lacks a file, is damaged, or is of a newer format.
    """
    where = store.path()
    missing = [name for name in FILES if name != "README.md" and not store.exists(name)]
    if "config.yaml" in missing:
        raise FormatError(f"'{where}' is no bundle: it has no config.yaml. A search writes one to RUN/best.")
    if missing:
        raise FormatError(f"The bundle '{where}' lacks {', '.join(missing)}.")
    text = _read(store, "config.yaml")
    config, reported = parse_config(text.decode("utf-8", "replace"), where=f"{where}/config.yaml")
    contents = {name: _read(store, name) for name in HASHED}
    _check_hashes(text, contents, where)
    try:
        tensors = safetensors.torch.load(contents["model.safetensors"])
    except safetensors.SafetensorError as error:
        raise FormatError(f"{where}/model.safetensors is damaged: {error}.") from error
    preprocessing = _parse_json(contents, "preprocessing.json", dict, where)
    if not all(isinstance(preprocessing.get(key), dict) for key in ("inputs", "architecture")):
        raise FormatError(f"{where}/preprocessing.json is damaged: it lacks 'inputs' or 'architecture'.")
    return Bundle(
        config=config,
        reported=reported,
        tensors=tensors,
        preprocessing=preprocessing,
        labels=tuple(map(str, _parse_json(contents, "labels.json", list, where))),
        metrics=_parse_json(contents, "metrics.json", dict, where),
    )


def _read(store: Store, name: str) -> bytes:
    try:
        return store.read(name)
    except OSError as error:
        raise FormatError(f"{store.path(name)} cannot be read: {error.strerror or error}.") from error


def _check_hashes(text: bytes, contents: Mapping[str, bytes], where: str) -> None:
    """Refuse a bundle of which a file is not as it was written.

    Raises:
        FormatError: If the hashes are missing or one differs; names the file.
    """
    mark = _HASHES.encode()
    own, found, tail = text.rpartition(mark)
    files = dict(line.strip().split(": ", 1) for line in tail.decode("utf-8", "replace").splitlines() if ": " in line)
    if not found or set(files) != {*contents, "config.yaml"}:
        raise FormatError(f"{where}/config.yaml is damaged: it does not end with the hashes of the bundle's files.")
    for name, content in {**contents, "config.yaml": own + mark[:1]}.items():
        if hashlib.sha256(content).hexdigest() != files.get(name):
            raise FormatError(f"{where}/{name} is not as it was written (its SHA-256 differs); copy the bundle again.")


def _parse_json(contents: Mapping[str, bytes], name: str, kind: type, where: str) -> Any:
    try:
        value = json.loads(contents[name])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}/{name} is damaged: {error}.") from error
    if not isinstance(value, kind):
        raise FormatError(f"{where}/{name} is damaged: it should hold a {kind.__name__}.")
    return value
