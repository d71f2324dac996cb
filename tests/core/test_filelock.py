import fcntl
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoft.core import filelock
from autoft.core.filelock import file_lock

HOLDER = """
    import sys, time
    from pathlib import Path
    from autoft.core.filelock import file_lock

    with file_lock(Path(sys.argv[1])) as sign_of_life:
        print("held", flush=True)
        for _ in range(600):
            time.sleep(0.1)
            if sys.argv[2] == "alive":
                sign_of_life()
"""


@pytest.fixture
def name(tmp_path: Path) -> Path:
    return tmp_path / "new" / "a.lock"


@pytest.fixture(params=["silent", "alive"])
def holder(name: Path, request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """Give another process that holds the lock; it ends with the test."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(name), request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("holder", ["silent"], indirect=True)
def test_who_does_not_wait_is_told_that_another_holds_it(name: Path, holder: "subprocess.Popen[str]") -> None:
    with file_lock(name, waits=False) as held:
        assert held is None
    assert name.exists()
    holder.kill()
    holder.wait()
    with file_lock(name, waits=False) as held:
        assert held is not None
    assert not name.exists()


@pytest.mark.parametrize("holder", ["silent"], indirect=True)
def test_a_silent_holder_is_not_waited_for(
    name: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filelock, "SILENT_SECONDS", 0.3)
    with pytest.raises(TimeoutError, match="is silent for"), file_lock(name):
        pass


@pytest.mark.parametrize("holder", ["alive"], indirect=True)
def test_a_holder_that_gives_signs_of_life_is_waited_for(
    name: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filelock, "SILENT_SECONDS", 1.5)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 25:
            holder.kill()

    with file_lock(name, heartbeat=beat) as held:
        assert held is not None
        assert beats >= 25


def test_a_lock_that_its_holder_removed_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    name = tmp_path / "a.lock"
    handle = os.open(name, os.O_RDWR | os.O_CREAT)
    fcntl.lockf(handle, fcntl.LOCK_EX)
    name.unlink()
    assert not filelock._try(handle, name)
    name.touch()
    assert not filelock._try(handle, name)
    os.close(handle)


def test_where_there_can_be_no_file_there_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), file_lock(tmp_path / "file" / "a.lock"):
        pass
