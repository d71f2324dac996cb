"""The spaces that ship."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import autoft
from autoft.core.entries.backbones import entry
from autoft.core.jsonable import Json
from autoft.space import Domain, SearchSpace, load_space, shipped_spaces
from autoft.space.parse import RESERVED
from autoft.space.yaml_text import parse_yaml

ROOT = Path(autoft.__file__).parent.parent
PACKAGED = {
    "timm:tf_efficientnet_lite0",
    "timm:tf_efficientnet_lite1",
    "hf:sentence-transformers/all-MiniLM-L6-v2",
}
NAMES = [
    f"{task}-classification/{name}" for task in ("image", "text") for name in ("default", "peft", "quick", "thorough")
]


def source(name: str) -> Json:
    form: Json = parse_yaml((ROOT / "search_spaces" / f"{name}.yaml").read_bytes(), file=name).plain()
    return form


def test_these_ship() -> None:
    assert [name for name in shipped_spaces() if name in NAMES] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_has_a_valid_default(name: str) -> None:
    space = load_space(name)
    assert (space.name, space.task) == (name, name.partition("/")[0])
    space.validate(space.default())
    assert space.budget.trials == source(name)["budget"]["trials"]
    assert SearchSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize("name", NAMES)
def test_every_range_has_a_prior(name: str) -> None:
    def without_prior(domain: Domain) -> bool:
        return "prior" not in domain.to_json() and domain.form != "choice"

    assert [one.label for one in load_space(name).parameters if without_prior(one.domain)] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_searches_several_modes(name: str) -> None:
    space = load_space(name)
    modes = set(space.parameter("finetune").domain.arguments())
    if name.endswith("peft"):
        assert modes == {"lora", "dora", "ia3", "norm_bias", "head"}
    else:
        assert {"head", "full"} <= modes
        assert {"adamw", "sgd"} & set(space.parameter("optimizer").domain.arguments())


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("quick")])
def test_a_quick_space_has_packaged_weights_and_few_backbones(name: str) -> None:
    names = [backbone["name"] for backbone in load_space(name).backbones()]
    assert set(names) <= PACKAGED
    assert len(names) <= 3


def test_the_keys_that_are_no_sections() -> None:
    assert RESERVED == ("task", "extends", "description", "budget", "forbid")


def test_an_installed_package_finds_them_inside_itself_and_loads_no_torch(tmp_path: Path) -> None:
    package = ROOT / "autoft"
    for part in ("core", "space"):
        shutil.copytree(package / part, tmp_path / "autoft" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(package / "__init__.py", tmp_path / "autoft")
    shutil.copytree(ROOT / "search_spaces", tmp_path / "autoft" / "_search_spaces")
    program = (
        "import sys, autoft.space as s, autoft\n"
        f"assert autoft.__file__.startswith({str(tmp_path)!r}), autoft.__file__\n"
        "print(s.shipped_spaces(), s.load_space('image-classification/quick').task)\n"
        "print([m for m in ('torch', 'timm', 'transformers', 'ray', 'pandas', 'hyperopt') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [f"{shipped_spaces()} image-classification", "[]"]


@pytest.mark.parametrize("name", NAMES)
def test_statistics_of_batches_are_searched_of_each_backbone_with_batch_norms_and_pretrained_by_default(
    name: str,
) -> None:
    space = load_space(name)
    every = {branch["name"] for branch in space.backbones() if entry(branch["name"]).facts.get("batch_norms")}
    found = {one.label for one in space.parameters if one.path == "backbone.batch_norm"}
    assert found == {f"backbone[{one}].batch_norm" for one in every}
    assert all(branch.get("batch_norm", "pretrained") == "pretrained" for branch in space.backbones())


@pytest.mark.parametrize("name", NAMES)
def test_it_draws_no_dropping_within_a_frozen_backbone(name: str) -> None:
    space = load_space(name).narrowed({"finetune.mode": "head"})
    rng = np.random.default_rng(0)
    for _ in range(100):
        backbone = space.recipe(space.sample(rng))["backbone"]
        assert not backbone.get("drop_path")
        assert not backbone.get("dropout")
