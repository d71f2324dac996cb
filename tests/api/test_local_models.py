"""A search over a model that is named by its folder: its run is read, and told from another, without that folder."""

import shutil
from pathlib import Path

import pytest

import autoft
from autoft.api import SearchRequest
from autoft.api.laying import lay
from autoft.core import catalog
from autoft.core.errors import ConfigError, WeightsError
from autoft.core.storage import Store
from tests.backbones.conftest import VOCABULARY, write_tokenizer
from tests.s3 import Server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder of a model whose weights nobody reads."""
    folder = tmp_path / "model"
    folder.mkdir()
    values = f'{{"model_type": "bert", "max_position_embeddings": 48, "vocab_size": {len(VOCABULARY)}}}'
    (folder / "config.json").write_text(values)
    (folder / "model.safetensors").write_bytes(b"weights")
    write_tokenizer(folder)
    return folder


def laid(texts: Path, model: Path, out: str | Path, *, elsewhere: bool) -> SearchRequest:
    """Lay a search over `model` for 48 tokens, which only that model's own configuration allows."""
    backbone = {"name": f"hf:{model}", "max_length": {"int_uniform": [8, 48]}}
    request = SearchRequest(
        data=str(texts),
        space=autoft.SearchSpace(task="text-classification", backbone=backbone),
        out=out,
        budget=autoft.Budget(trials=1, epochs=1),
    )
    lay(request, elsewhere=elsewhere)
    return request


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_run_is_read_where_the_folder_is_not(
    texts: Path, model: Path, tmp_path: Path, s3: Server, place: str
) -> None:
    out = s3.uri("run") if place == "s3" else tmp_path / "run"
    laid(texts, model, out, elsewhere=True)
    before = autoft.open_run(out).space
    shutil.rmtree(model)
    with pytest.raises(ConfigError, match="is no folder on this machine"):
        catalog.entry("backbone", f"hf:{model}")
    found = autoft.open_run(out)
    assert found.space.to_json() == before.to_json()
    assert found.rows() == []
    assert catalog.entry("backbone", f"hf:{model}").facts["longest"] == 48


def test_a_local_run_keeps_the_hashes_alone_and_a_changed_folder_is_not_searched_on(
    texts: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    laid(texts, model, out, elsewhere=False)
    assert [*Store.open(out).sizes("weights")] == ["weights.json"]
    (model / "model.safetensors").write_bytes(b"others!")
    with pytest.raises(
        WeightsError, match=r"its model.safetensors has changed \(its SHA-256 differs\); put it back or "
    ):
        autoft.resume(out)
