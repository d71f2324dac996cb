"""What a person is told where no job server answers, or it refuses: by real servers of loopback."""

import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoft.core.errors import ConfigError, WorkError
from autoft.jobs import server as jobs_server
from autoft.jobs.server import RUN_KEY, connect
from tests.jobs.servers import answering, job_server, listening

TOKEN = "c0ffee" * 8


@pytest.fixture(autouse=True)
def _no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_cluster_that_asks_for_a_token_is_told_where_to_put_it() -> None:
    with listening(answering(401, b"Unauthorized: Missing authentication token")) as url:
        with pytest.raises(ConfigError) as refused:
            connect(url)
        assert str(refused.value) == (
            f"The cluster at {url} asks for a token, and there is none here; put the cluster's into RAY_AUTH_TOKEN, "
            "the file that RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token, or --token-file FILE."
        )


def test_a_wrong_token_is_named_by_where_it_was_found_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(TOKEN)
    with (
        listening(answering(403, f"Forbidden: {TOKEN}".encode())) as url,
        pytest.raises(ConfigError, match=f"refuses the token of the file '{tmp_path}/mine'; put") as refused,
    ):
        connect(url, token_file=tmp_path / "mine")
    assert TOKEN not in f"{refused.value}{refused.value.__cause__}"


@pytest.mark.parametrize(
    "answer",
    [
        answering(200, b"<html>hello</html>"),
        answering(200, {"version": "1"}),
        answering(200, ["ray_version"]),
        answering(404, b"not found"),
        answering(500, b"oh"),
    ],
)
def test_what_is_no_job_server_is_told_from_one(answer: Callable[[Any], None]) -> None:
    with listening(answer) as url, pytest.raises(ConfigError, match=f"^What listens at {url} is no Ray job server "):
        connect(url)


def test_what_does_not_speak_http_is_no_job_server() -> None:
    def speak(request: Any) -> None:
        request.wfile.write(b"\x00\x00\x18\x04\x00\n")
        request.close_connection = True

    with listening(speak) as url, pytest.raises(ConfigError) as refused:
        connect(url)
    assert str(refused.value) == (
        f"What listens at {url} is no Ray job server (it does not speak HTTP); the address is that of the cluster's "
        "dashboard, http://HEAD:8265, on a cluster with `ray[default]` installed."
    )


def test_a_token_does_not_follow_a_redirection(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(TOKEN)
    seen = []

    def note(request: Any) -> None:
        seen.append(request.headers)
        answering(200, {"ray_version": version("ray")})(request)

    with (
        listening(note) as other,
        listening(answering(302, b"", Location=f"{other}/api/version")) as url,
        pytest.raises(ConfigError, match="no Ray job server"),
    ):
        connect(url, token_file=tmp_path / "mine")
    assert seen == []


def test_where_nobody_listens_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"^The job server at {url} cannot be reached \(.*refused\)"):
            connect(url)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Job finished successfully.", "Job finished successfully."),
        (
            (
                "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n"
                "Running entrypoint for job a: python -m autoft resume s3://b/r --address auto\nError: There is no x.\n"
            ),
            "Job entrypoint command failed with exit code 1: Error: There is no x.",
        ),
        (  # the shell's own line, unbuffered, is there before Ray's
            (
                "Job entrypoint command failed with exit code 127, last available logs (truncated to 20,000 chars):\n"
                "/bin/sh: 1: nopython: not found\nRunning entrypoint for job a: nopython -m autoft resume s3://b/r\n"
            ),
            "Job entrypoint command failed with exit code 127: /bin/sh: 1: nopython: not found",
        ),
    ],
)
def test_a_failed_jobs_message_ends_with_the_last_line_that_it_printed(message: str, said: str) -> None:
    job = SimpleNamespace(
        submission_id="a", status="FAILED", metadata={RUN_KEY: "s3://b/r"}, start_time=1, end_time=2, message=message
    )
    info = jobs_server._info(job)
    assert info is not None
    assert info.message == said


def test_a_forwarded_port_with_nobody_behind_it_is_no_other_kind_of_server() -> None:
    # ssh takes the connection and closes it.
    def hang_up(request: Any) -> None:
        request.close_connection = True

    with (
        listening(hang_up) as url,
        pytest.raises(ConfigError, match=r"cannot be reached \(Remote end closed connection without response\); the"),
    ):
        connect(url)


def test_a_server_that_goes_away_is_said_with_what_is_left() -> None:
    with listening(job_server([])) as url:
        server = connect(url)
    with pytest.raises(WorkError) as lost:
        server.jobs()
    assert str(lost.value) == (
        f"The job server at {url} does not answer any more (ConnectionError); the job goes on if the cluster does, and "
        "its run can be read, fetched and resumed from where it lies."
    )


def test_a_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_server, "ANSWER_SECONDS", 0.2)
    with (
        listening(lambda _: time.sleep(1.0)) as url,
        pytest.raises(ConfigError, match=r"cannot be reached \(timed out\)"),
    ):
        connect(url)


def test_another_python_or_ray_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/api/version": {"version": "4", "ray_version": "2.99.0", "ray_commit": "x", "session_name": "s"},
        "/api/v0/cluster_metadata": {"data": {"pythonVersion": "3.99.1", "rayVersion": "2.99.0"}},
    }
    # The variables that would send Ray's client elsewhere have no say.
    monkeypatch.setenv("RAY_ADDRESS", "http://192.0.2.1:1")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://192.0.2.1:1")
    with listening(lambda request: answering(200, answers[request.path])(request)) as url:
        (warning,) = connect(url).warnings
    assert warning.startswith(f"The cluster at {url} differs from this machine: Python 3.99.1 there and 3.")
    assert f"Ray 2.99.0 there and {version('ray')} here" in warning
