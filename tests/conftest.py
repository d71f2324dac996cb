"""What the tests share: tiny pictures and texts made on the spot, and tiny models with random weights."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from hypothesis import settings
from PIL import Image
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from autoft.api import SearchResult
    from tests.s3 import Server

# A shell that runs the tests in the background, or nohup, has signals ignored in them and in what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two workers share the machine: no example fails for being slow, and the same code gets the same examples.
settings.load_profile("ci")


RAY_FILES = (
    "tests/api/test_damage.py",
    "tests/api/test_experience.py",
    "tests/api/test_reproduction.py",
    "tests/api/test_search.py",
    "tests/api/test_storage.py",
    "tests/docs/test_docs.py",
    "tests/engine/test_cluster.py",
    "tests/engine/test_search.py",
    "tests/engine/test_spread.py",
    "tests/examples/test_examples.py",
    "tests/jobs/test_fetching.py",
)
"""What uses the session's Ray: of two workers, one runs it all, and begins with it."""


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what uses Ray before the rest, which a second worker begins with."""
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()) and file_of(item.nodeid) not in RAY_FILES:
            raise pytest.UsageError(f"{file_of(item.nodeid)} uses Ray: it belongs to RAY_FILES in tests/conftest.py.")
    items.sort(key=lambda item: file_of(item.nodeid) not in RAY_FILES)


class ByFile(LoadScopeScheduling):
    """Gives each worker one file after another, and all files that use the session's Ray to the same."""

    def _split_scope(self, nodeid: str) -> str:
        return "ray" if file_of(nodeid) in RAY_FILES else file_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test-key-id",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What reaches the S3 server of loopback, also from the workers of the session's Ray."""
TINY_IMAGE_BACKBONE = {"name": "timm:test_resnet", "weights": "none", "input_size": 32}
COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}
WORDS = {"bad": ("dull", "weak", "boring", "poor"), "good": ("fine", "strong", "moving", "great")}


def write_pictures(folder: Path, *, per_class: int, side: int = 40, classes: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Write noisy pictures of one colour a class into class folders; three classes."""
    for label, colour in zip(classes, COLOURS.values(), strict=True):
        (folder / label).mkdir(parents=True)
        for index in range(per_class):
            noise = np.random.default_rng([index, *label.encode()]).normal(0, 60, (side, side, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index:03d}.png")
    return folder


def write_texts(path: Path, *, per_class: int) -> Path:
    """Write a CSV of short reviews whose words give the label away."""
    draws = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for index in range(per_class):
            for label, words in WORDS.items():
                chosen = draws.choice(words, 3)
                writer.writerow([f"film {index} was {' and '.join(chosen)} {draws.integers(1000)}", label])
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep weights and data that the session prepares in one place, and let no cache of this machine be seen."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOFT_CACHE", str(base / "autoft-cache"))
        patch.setenv("HF_HOME", str(base / "no-hub"))
        patch.setenv("TORCH_HOME", str(base / "no-torch-hub"))
        for variable in (
            "AUTOFT_CACHE_GB",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
        ):
            patch.delenv(variable, raising=False)
        for variable, value in S3_ENVIRONMENT.items():
            patch.setenv(variable, value)
        yield


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 3 classes x 20 pictures."""
    return write_pictures(tmp_path_factory.mktemp("pictures") / "colours", per_class=20)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a CSV of 2 classes x 40 texts."""
    return write_texts(tmp_path_factory.mktemp("texts") / "reviews.csv", per_class=40)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the tiny backbone with weights from a file, whose batch norms have seen other data than noise."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(5)
    module = timm.create_model("test_resnet", num_classes=0)
    module(torch.rand(16, 3, 32, 32))
    path = tmp_path_factory.mktemp("pretrained") / "weights.safetensors"
    save_file(module.state_dict(), path)
    return TINY_IMAGE_BACKBONE | {"weights": str(path)}


TINY_SPACE: dict[str, Any] = {
    "task": "image-classification",
    "backbone": {
        "choice": [
            TINY_IMAGE_BACKBONE,
            {"name": "timm:test_efficientnet", "weights": "none", "input_size": 32},
        ]
    },
    "finetune": {"choice": [{"mode": "full"}, {"mode": "head"}]},
    "optimizer": {
        "choice": [
            {"name": "adamw", "lr": {"log_uniform": [1e-4, 1e-2], "prior": 3e-3}},
            {"name": "sgd", "lr": {"log_uniform": [1e-3, 1e-1]}},
        ]
    },
    "augmentation": {"choice": ["none", "flip"]},
    "batch_size": 8,
}


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Hold one local Ray over all tests of the session."""
    from autoft.core.configs import Resources
    from autoft.engine.cluster import connected

    with connected(Resources(), None):
        yield


@pytest.fixture(scope="session")
def tiny_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a YAML file of `TINY_SPACE`."""
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY_SPACE, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def search_here(
    ray_cluster: None, pictures: Path, tiny_space: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., "SearchResult"]:
    """Return a search over the tiny space on the colours, one trial at a time, into a new folder each time."""
    import autoft

    def search(data: Any = None, **given: Any) -> "SearchResult":
        options: dict[str, Any] = {
            "space": tiny_space,
            "resources": autoft.Resources(concurrent=1),
            "out": tmp_path_factory.mktemp("run"),
            **given,
        }
        return autoft.search(str(pictures) if data is None else data, **options)

    return search


@pytest.fixture(scope="session")
def finished(search_here: Callable[..., "SearchResult"]) -> "SearchResult":
    """Return a finished search of 4 trials and 2 probes, two side by side, for tests that only read it."""
    import autoft

    # Random draws: what leans toward the default is as good as it on these colours, and then there is nothing to learn.
    options: dict[str, Any] = {"searcher": "random", "resources": autoft.Resources(), "keep": 10, "profile": True}
    return search_here(budget=autoft.Budget(trials=4, epochs=3), **options)


@pytest.fixture(scope="session")
def s3_server() -> Iterator["Server"]:
    """Run an S3 server of loopback."""
    from tests.s3 import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: "Server") -> "Server":
    """Return the S3 server, which answers as it should and has a new bucket; `s3.uri("run")` names a folder in it."""
    s3_server.renew()
    return s3_server
