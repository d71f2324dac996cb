import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft import backbones
from autoft.artifact import Bundle, Model, read_bundle, write_bundle
from autoft.artifact.bundle import FILES, HASHED, parse_config
from autoft.core.configs import TrialConfig
from autoft.core.errors import AutoftError, DataError, FormatError
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.tasks import Network, get_task
from tests.conftest import TINY_IMAGE_BACKBONE

LABELS = ("a,b", "../../etc", "😀 é\nx")


def make_bundle() -> Bundle:
    recipe = complete({"backbone": dict(TINY_IMAGE_BACKBONE)}, task="image-classification")
    backbone = backbones.build(recipe["backbone"], pretrained=False)
    head = get_task("image-classification").build_head(backbone.num_features, len(LABELS), recipe, seed=0)
    return Bundle(
        config=TrialConfig(
            task="image-classification",
            data={"source": "x", "fingerprint": "0" * 64},
            recipe=recipe,
            epochs=3,
            metrics=("accuracy",),
            seed=1,
        ),
        reported={"trial": "t0001", "epoch": 1, "weights_sha256": None, "epochs": [], "num_rows": {"train": 3}},
        tensors=Network(backbone.module, head).state_dict(),
        preprocessing={"inputs": backbone.preprocessing, "architecture": backbone.architecture},
        labels=LABELS,
        metrics={"val": {"accuracy": 0.5}, "test": {"accuracy": {"value": 0.5, "low": 0.1, "high": 0.9}}},
    )


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return make_bundle()


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    write_bundle(Store.open(tmp_path / "best"), bundle)
    return tmp_path / "best"


@pytest.fixture(scope="module")
def whole_config(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    write_bundle(Store.open(folder), bundle)
    return folder, (folder / "config.yaml").read_bytes()


def refusal(folder: Path) -> str:
    with pytest.raises(FormatError) as caught:
        Model.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_written_is_read(bundle: Bundle, folder: Path) -> None:
    read = read_bundle(Store.open(folder))
    assert (read.config, read.reported, read.labels) == (bundle.config, bundle.reported, bundle.labels)
    assert (read.preprocessing, read.metrics) == (bundle.preprocessing, bundle.metrics)
    assert set(read.tensors) == set(bundle.tensors)
    assert all(torch.equal(read.tensors[name], bundle.tensors[name]) for name in bundle.tensors)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_it_predicts_in_a_fresh_model(folder: Path, pictures: Path) -> None:
    model = Model.load(folder)
    probabilities = model.predict_proba([str(pictures / "red" / "000.png"), str(pictures / "blue" / "000.png")])
    assert probabilities.shape == (2, 3)
    assert model.labels == LABELS


def test_a_second_bundle_replaces_the_first(bundle: Bundle, folder: Path) -> None:
    write_bundle(Store.open(folder), replace(bundle, labels=("x", "y", "z")))
    assert read_bundle(Store.open(folder)).labels == ("x", "y", "z")


def test_the_card_may_be_changed_or_missing(folder: Path) -> None:
    (folder / "README.md").unlink()
    assert read_bundle(Store.open(folder)).labels == LABELS


@pytest.mark.parametrize("name", [*HASHED, "config.yaml"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name in refusal(folder)


@pytest.mark.parametrize("name", [*HASHED, "config.yaml"])
@pytest.mark.parametrize("part", [0, 0.3, 0.99])
def test_a_cut_file_is_refused_and_named(folder: Path, name: str, part: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(part * len(content))])
    assert name in refusal(folder)


@pytest.mark.parametrize("name", HASHED)
def test_a_flipped_bit_is_refused_and_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) * 2 // 3] ^= 1
    (folder / name).write_bytes(content)
    assert refusal(folder).endswith(
        f"best/{name} is not as it was written (its SHA-256 differs); copy the bundle again."
    )


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_no_flipped_bit_of_the_configuration_goes_unnoticed(
    whole_config: tuple[Path, bytes], place: float, bit: int
) -> None:
    folder, text = whole_config
    damaged = bytearray(text)
    damaged[int(place * len(text))] ^= 1 << bit
    (folder / "config.yaml").write_bytes(damaged)
    with pytest.raises(FormatError):
        read_bundle(Store.open(folder))


@pytest.mark.parametrize("name", [*HASHED, "config.yaml"])
def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    assert name in refusal(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("format: 1\n", "format: 2\n", 1))
    assert refusal(folder).endswith("has format 2, this autoft reads up to 1; upgrade autoft to read it.")


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    assert "is no bundle: it has no config.yaml" in refusal(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("- 1\n")
    for name in HASHED:
        (tmp_path / name).write_text("[]")
    assert refusal(tmp_path).endswith("config.yaml is no configuration of a trial.")


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


def test_a_pickle_in_the_place_of_the_weights_is_never_executed(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    content = pickle.dumps(Payload(mark))
    (folder / "model.safetensors").write_bytes(content)
    refusal(folder)
    rehash(folder)
    assert "model.safetensors is damaged" in refusal(folder)
    assert not mark.exists()
    pickle.loads(content)
    assert mark.exists()


def test_a_configuration_with_python_tags_or_aliases_executes_nothing(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (folder / "config.yaml").write_text(f"!!python/object/apply:os.system ['touch {mark}']\n")
    assert "config.yaml is no YAML" in refusal(folder)
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))
    (folder / "config.yaml").write_text(bomb)
    assert refusal(folder).endswith("it has YAML aliases.")
    (folder / "config.yaml").write_text("[" * 20_000)
    assert "config.yaml is no YAML" in refusal(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"kwargs": {"checkpoint_path": "/evil.pth"}},
        {"kwargs": {"pretrained": True}},
        {"name": "hf-hub:evil/model"},
        {"name": "../../evil"},
        {"library": "os"},
    ],
)
def test_an_architecture_that_asks_for_more_than_a_model_is_refused(folder: Path, change: dict[str, object]) -> None:
    values = json.loads((folder / "preprocessing.json").read_text())
    values["architecture"] |= change
    (folder / "preprocessing.json").write_text(json.dumps(values))
    rehash(folder)
    with pytest.raises(AutoftError):
        Model.load(folder)


@pytest.mark.parametrize("broken", [{}, {"inputs": {}}, {"inputs": [], "architecture": {}}])
def test_preprocessing_without_its_parts_is_refused(folder: Path, broken: dict[str, object]) -> None:
    (folder / "preprocessing.json").write_text(json.dumps(broken))
    rehash(folder)
    assert "preprocessing.json is damaged: it lacks 'inputs' or 'architecture'" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("task", 3, "'task' must be a text, not 3"),
        ("recipe", "a", "'recipe' must be a map, not 'a'"),
        ("epochs", "many", "'epochs' must be a whole number, not 'many'"),
        ("seed", None, "'seed' must be a whole number, not None"),
        ("execution", [], "'execution' must be a map, not []"),
        ("reported", [], "'reported' in config.yaml must be a map, not list"),
        ("colour", 1, "Unknown key 'colour'"),
    ],
)
def test_a_configuration_with_a_wrong_value_names_it(folder: Path, key: str, value: object, said: str) -> None:
    values = yaml.safe_load((folder / "config.yaml").read_text()) | {key: value}
    with pytest.raises(FormatError) as caught:
        parse_config(yaml.safe_dump(values), where="config.yaml")
    assert said in str(caught.value)


def test_a_configuration_without_a_key_names_it(folder: Path) -> None:
    values = yaml.safe_load((folder / "config.yaml").read_text())
    del values["recipe"]
    with pytest.raises(FormatError, match=r"config.yaml is incomplete: it lacks 'recipe'\."):
        parse_config(yaml.safe_dump(values), where="config.yaml")


def test_a_picture_that_cannot_be_used_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "archive.png").write_bytes(b"PK\3\4" + bytes(50))
    with pytest.raises(DataError, match=r"archive.png' cannot be used: the content is no picture"):
        Model.load(folder).predict([str(tmp_path / "archive.png")])


def rehash(folder: Path) -> None:
    """Write the hashes of the files as they are now: an attacker can."""
    import hashlib

    text = (folder / "config.yaml").read_text()
    files = yaml.safe_load(text)["files"]
    for name in HASHED:
        text = text.replace(files[name], hashlib.sha256((folder / name).read_bytes()).hexdigest())
    (folder / "config.yaml").write_text(text)
