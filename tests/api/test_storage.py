"""A search whose storage is an S3 server alone: read, resumed and predicted from there, also through its failures."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import autoft
from autoft import jobs
from autoft.core.cache import cache_folder
from autoft.core.errors import ConfigError, DataError, FormatError, StorageError
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from tests.backbones.conftest import TINY, VOCABULARY, write_tokenizer
from tests.conftest import write_pictures
from tests.s3 import Mishap, Request, Server, seeded

MEASURED = {"seconds", "latency_ms", "peak_memory_mb"}
Search = Callable[..., "autoft.SearchResult"]


def board(result: "autoft.SearchResult") -> list[Json]:
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in result.rows()]


def few(out: str | Path, search_here: Search, **given: Any) -> "autoft.SearchResult":
    options: dict[str, Any] = {"searcher": "random", "scheduler": "none", "seed": 5}
    return search_here(out=out, **{**options, "budget": autoft.Budget(trials=2, epochs=2), **given})


@pytest.fixture(scope="module")
def local(search_here: Search, tmp_path_factory: pytest.TempPathFactory) -> "autoft.SearchResult":
    return few(tmp_path_factory.mktemp("local") / "run", search_here)


MOST_REQUESTS = 210
"""Of a search of 2 probes and 2 trials: one a checkpoint, two a flush and three to remove its segment."""


def test_a_search_on_s3_ends_as_one_on_the_local_disk_and_lives_on_in_storage_alone(
    s3: Server, search_here: Search, local: "autoft.SearchResult", pictures: Path
) -> None:
    with s3.counted() as requests:
        few(s3.uri("run"), search_here)
    assert len(requests) <= MOST_REQUESTS
    shutil.rmtree(cache_folder())
    found = autoft.open_run(s3.uri("run"))
    assert board(found) == board(local)
    paths = [str(pictures / "red" / "000.png"), str(pictures / "blue" / "001.png")]
    assert found.model.predict(paths) == local.model.predict(paths)
    again = autoft.resume(s3.uri("run"), autoft.Budget(trials=3))
    assert {row["trial"] for row in board(again)} == {"p01", "p02", "t0001", "t0002", "t0003"}
    before = {row["trial"]: row for row in board(local)}
    for row in board(again):
        if row["trial"] in before:
            assert row | {"rank": 0, "test_accuracy": 0} == before[row["trial"]] | {"rank": 0, "test_accuracy": 0}


@pytest.mark.slow
def test_a_search_through_failures_of_its_storage_gives_the_same_leaderboard(
    s3: Server, search_here: Search, local: "autoft.SearchResult"
) -> None:
    with s3.failing(seeded(1, 0.1)):
        found = few(s3.uri("run"), search_here)
        assert board(found) == board(local)
    assert s3.num_mishaps > 5


@pytest.mark.slow
def test_a_storage_that_fails_for_good_ends_the_search_with_a_sentence_and_a_resume_goes_on(
    s3: Server, search_here: Search, local: "autoft.SearchResult"
) -> None:
    def rule(request: Request) -> Mishap | None:
        return "403" if "checkpoints/t0001" in request.path and request.method == "PUT" else None

    with s3.failing(rule), pytest.raises(StorageError, match=r"is denied: .* Go on with: autoft resume 's3://"):
        few(s3.uri("run"), search_here)
    assert board(autoft.resume(s3.uri("run"))) == board(local)


@pytest.mark.slow
def test_weights_of_a_file_that_is_gone_are_those_that_travelled(
    s3: Server, search_here: Search, pretrained: dict[str, Any], pictures: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    shutil.copy(str(pretrained["weights"]), path)
    space = tmp_path / "space.yaml"
    backbone = pretrained | {"weights": str(path)}
    space.write_text(yaml.safe_dump({"task": "image-classification", "backbone": backbone, "batch_size": 8}))
    before = few(s3.uri("run"), search_here, space=space)
    path.unlink()
    shutil.rmtree(cache_folder())
    after = autoft.resume(s3.uri("run"), autoft.Budget(trials=3))
    weights = {row.config.weights["sha256"] for row in after.record.trials}
    assert weights == {row.config.weights["sha256"] for row in before.record.trials}
    assert len(weights) == 1
    assert len(after.record.trials) == len(before.record.trials) + 1
    for name in ("run", "run/best/config.yaml"):
        assert autoft.reproduce(s3.uri(name), data=str(pictures)).matches


@pytest.mark.slow
def test_a_model_that_is_named_by_a_folder_that_is_gone_is_the_one_that_travelled(
    s3: Server, search_here: Search, texts: Path, tmp_path: Path
) -> None:
    model = write_bert(tmp_path / "model")
    space = autoft.SearchSpace(
        task="text-classification",
        backbone={"name": f"hf:{model}", "max_length": 16},
        finetune="full",
        batch_size=16,
    )
    before = few(s3.uri("run"), search_here, data=str(texts), space=space)
    shutil.rmtree(model)
    shutil.rmtree(cache_folder())
    after = autoft.resume(s3.uri("run"), autoft.Budget(trials=3))
    weights = {row.config.weights["sha256"] for row in after.record.trials}
    assert weights == {row.config.weights["sha256"] for row in before.record.trials}
    assert len(weights) == 1
    assert {row.status for row in after.record.trials} <= {"probe", "completed"}
    home = tmp_path / "home"
    jobs.fetch(s3.uri("run"), home)
    shutil.rmtree(cache_folder())
    with s3.counted() as requests:
        assert autoft.reproduce(home, data=str(texts)).matches
        assert autoft.reproduce(home / "best" / "config.yaml", data=str(texts)).matches
        assert autoft.load(home / "best").predict(["a good film"]) == after.model.predict(["a good film"])
    assert {request.path.partition("/run/")[2].partition("/")[0] for request in requests} <= {"best", ""}
    write_bert(model, seed=2)
    found = autoft.reproduce(home, data=str(texts))
    assert [row["what"] for row in found.rows] == ["data fingerprint", f"model.safetensors of hf:{model}"]
    assert not found.matches


def test_the_data_of_a_reproduction_are_fetched_from_their_address(
    s3: Server, local: "autoft.SearchResult", pictures: Path
) -> None:
    for label in ("red", "blue"):
        store_folder(pictures / label, s3, f"others/{label}")
    found = autoft.reproduce(local.folder, data=s3.uri("others"))
    (row,) = found.rows
    assert (row["what"], row["verdict"]) == ("data fingerprint", "differs")
    with pytest.raises(DataError, match=r"^There is no file or folder 's3://bucket-\d+/nowhere\?"):
        autoft.reproduce(local.folder, data=s3.uri("nowhere"))


def test_a_configuration_in_storage_is_reproduced_from_its_file_and_from_its_bundle(
    s3: Server, local: "autoft.SearchResult", pictures: Path
) -> None:
    store_folder(Path(local.folder) / "best", s3, "run/best")
    for name in ("run/best/config.yaml", "run/best"):
        again = autoft.reproduce(s3.uri(name), data=str(pictures))
        assert again.exact
        assert again.matches
    for name in ("run/best/config.yml", "run"):
        with pytest.raises(FormatError) as caught:
            autoft.reproduce(s3.uri(name), data=str(pictures))
        assert str(caught.value) == (
            f"There is no configuration '{s3.uri(name)}'; a search writes one to RUN/best/config.yaml."
        )
    with pytest.raises(ConfigError, match=r"^There is no bucket 'unknown', which"):
        autoft.reproduce(s3.uri("run/best/config.yaml", bucket="unknown"), data=str(pictures))


@pytest.mark.slow
def test_a_search_on_data_at_addresses_is_reproduced_from_there_and_from_here(
    s3: Server, search_here: Search, pictures: Path, tmp_path: Path
) -> None:
    val = write_pictures(tmp_path / "val", per_class=8)
    data, elsewhere = store_folder(pictures, s3, "colours"), store_folder(val, s3, "val")
    found = few(tmp_path / "run", search_here, data=data, val=elsewhere)
    assert (found.search.data.source, found.search.data.val) == (data, elsewhere)
    for given in ({"data": data}, {"data": data, "val": elsewhere}, {"data": str(pictures), "val": str(val)}):
        again = autoft.reproduce(found.folder, **given)
        assert again.exact
        assert again.matches


def store_folder(folder: Path, s3: Server, name: str) -> str:
    """Put a folder into the store, and return its address."""
    store = Store.open(s3.uri(name))
    for path in folder.rglob("*"):
        if path.is_file():
            store.upload(path, str(path.relative_to(folder)))
    return s3.uri(name)


def write_bert(folder: Path, *, seed: int = 1) -> Path:
    """Write a BERT of 2 layers and 16 features with a tokenizer of its own."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=32, **TINY)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder
