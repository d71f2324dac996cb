"""Each example runs as it stands, with a smaller budget."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import write_pictures, write_texts

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_searches_a_folder(ray_cluster: None, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "colours", per_class=12)
    result = load("pictures").main(str(folder), str(tmp_path / "run"), trials=1, epochs=1)
    assert [row.trial for row in result.record.trials] == ["p01", "p02", "t0001"]


@pytest.mark.slow
def test_own_space_searches_and_reproduces(ray_cluster: None, tmp_path: Path) -> None:
    table = write_texts(tmp_path / "reviews.csv", per_class=20)
    result = load("own_space").main(str(table), str(tmp_path / "run"), trials=1, epochs=1)
    assert result.space.backbones()[0]["name"] == "hf:sentence-transformers/all-MiniLM-L6-v2"


def test_every_example_is_tested() -> None:
    here = Path(__file__).read_text()
    assert [path.stem for path in sorted(EXAMPLES.glob("*.py")) if f'load("{path.stem}")' not in here] == []
