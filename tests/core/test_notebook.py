import subprocess
import sys
from pathlib import Path

import pytest

from autoft.core.notebook import alone, read_note, write_note

KEY = {"device": "a processor", "backbone": {"name": "x", "input_size": 224}}
FOUND = {"seconds": 0.5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_note_is_read_under_its_own_topic_and_key_alone() -> None:
    assert read_note("dtype", KEY) is None
    write_note("dtype", KEY, FOUND)
    assert read_note("dtype", KEY) == FOUND
    assert read_note("compile", KEY) is None
    assert read_note("dtype", {**KEY, "device": "another"}) is None


@pytest.mark.parametrize(
    "content",
    [b"", b'{"format": 1, "key"', b"[]", b'{"found": {"seconds": 0.5}}', b'{"format":1,"key":{},"found":{}}', b"\xff"],
)
def test_a_torn_or_foreign_file_is_no_note(cache: Path, content: bytes) -> None:
    write_note("dtype", KEY, FOUND)
    (path,) = (cache / "machine").glob("dtype-*.json")
    path.write_bytes(content)
    assert read_note("dtype", KEY) is None
    write_note("dtype", KEY, FOUND)
    assert read_note("dtype", KEY) == FOUND


def test_what_the_disk_refuses_this_process_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "file"))
    with alone("dtype", KEY) as is_alone:
        assert is_alone
        write_note("dtype", KEY, FOUND)
    assert read_note("dtype", KEY) == FOUND
    assert "is not kept in" in caplog.text


def test_one_process_at_a_time_is_alone() -> None:
    program = (
        "from autoft.core.notebook import alone\n"
        f"with alone('dtype', {KEY!r}, waits=False) as is_alone:\n"
        "    print(is_alone)"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()

    with alone("dtype", KEY) as is_alone:
        assert is_alone
        assert other() == "False"
    assert other() == "True"
