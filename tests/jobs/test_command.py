"""What the commands refuse before anything is sent: by a job server of loopback that counts what it is asked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoft.cli import main
from tests.jobs.servers import job_server, listening


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def url(seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with listening(job_server(seen)) as found:
        yield found
    # Nothing was sent, whatever was asked for.
    assert {request.partition(" ")[0] for request in seen} <= {"GET"}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return what is said of a line that is refused."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.rstrip("\n")


def test_only_searches_and_resumes_are_submitted(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "submit", "--address", url, "--", "predict", "x") == (
        "Error: A job can be of 'search' or 'resume', not of 'predict'."
    )


def test_the_options_of_the_search_are_those_of_search(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("submit", "--address", url, "--", "search", "data", "--out", "s3://b/r")
    assert refusal(capsys, *line, "--trails", "3") == (
        "Error: Unknown option '--trails' of `autoft search`. Did you mean '--trials'? "
        "`autoft search --help` shows all."
    )
    assert "--trials must be a whole number" in refusal(capsys, *line, "--trials", "0")
    assert main(["submit", "--address", url, "--", "search", "--help"]) == 0
    assert "Usage: autoft search" in capsys.readouterr().out


def test_mistakes_in_the_search_are_met_here(
    url: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("submit", "--address", url, "--", "search")
    run = tmp_path / "run"
    assert "There is no file or folder" in refusal(capsys, *line, tmp_path / "none", "--out", run)
    assert "Unknown space" in refusal(capsys, *line, pictures, "--space", "image-classification/quik", "--out", run)
    assert "is a path of this machine alone" in refusal(capsys, *line, pictures, "--out", "runs/a")
    assert "own address 'head:6379' would have no effect" in refusal(
        capsys, *line, pictures, "--out", run, "--address", "head:6379"
    )
    resume = ("submit", "--address", url, "--", "resume")
    assert "is no run: it has no search.yaml" in refusal(capsys, *resume, run)
    assert not run.exists()


def test_in_place_reads_no_file_of_this_machine(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "search.yaml").write_text("trials: 3\n")
    line = ("submit", "--address", url, "--in-place", "--", "search", "/data/there", "--out", "/runs/there")
    assert "--in-place reads none" in refusal(capsys, *line, "--config", tmp_path / "search.yaml")
    assert "leave it out" in refusal(capsys, *line, "--address", "auto")
    assert "is a path of this machine alone" in refusal(capsys, *line[:-1], "there")
    resume = ("submit", "--address", url, "--in-place", "--", "resume")
    assert "leave it out" in refusal(capsys, *resume, "/runs/there", "--address", "auto")
    assert "is a path of this machine alone" in refusal(capsys, *resume, "there")


@pytest.mark.parametrize(
    "arguments",
    [
        ["s3://AKIAXYZ:hunter2@bucket/d", "--out", "/runs/there"],
        ["s3://bucket/d?secret_key=hunter2", "--out", "/runs/there"],
        ["https://host/d.csv?X-Amz-Signature=hunter2", "--out", "/runs/there"],
        ["/data/there", "--out", "s3://AKIAXYZ:hunter2@bucket/r"],
        ["/data/there", "--out", "s3://bucket/r?secret_key=hunter2"],
        ["/data/there", "--out=/runs/there", "--val=s3://AKIAXYZ:hunter2@bucket/v"],
        ["/data/there", "--out=/runs/there", "--learn-from", "s3://AKIAXYZ:hunter2@bucket/r"],
        ["/data/there", "--out=/runs/there", "--set=backbone.weights=s3://AKIAXYZ:hunter2@bucket/w"],
    ],
)
def test_in_place_sends_no_credentials(url: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(capsys, "submit", "--address", url, "--in-place", "--", "search", *arguments)
    assert "holds credentials" in told
    assert "hunter2" not in told
    assert "AKIAXYZ" not in told


def test_an_address_that_cannot_be_read_may_hold_credentials(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = ("submit", "--address", url, "--in-place", "--", "search", "s3://[AKIAXYZ:hunter2", "--out", "/runs/there")
    assert refusal(capsys, *line) == "Error: What is given behind 's3://' cannot be read as an address; correct it."


def test_a_job_that_is_not_there_is_said(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--address", url]) == 0
    assert capsys.readouterr().err == f"autoft has submitted no job to {url}.\n"
    assert "--follow watches one job; name it." in refusal(capsys, "status", "--follow", "--address", url)


def test_a_fetch_needs_a_cluster_for_a_job_and_none_for_a_run(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "home"
    assert "The cluster of the job 'autoft-a' is not known" in refusal(capsys, "fetch", "autoft-a", "--out", out)
    assert "needs no --address" in refusal(capsys, "fetch", "s3://b/r", "--out", out, "--address", url)
    assert "is no run" in refusal(capsys, "fetch", tmp_path, "--out", out)
    assert not out.exists()


def test_without_rays_job_client_one_sentence_names_the_extra(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "aiohttp" else find(name))
    assert refusal(capsys, "status", "--address", url) == (
        "Error: Ray's job client is not installed; `pip install 'autoft[cluster]'` (ray[default]) installs it."
    )


def test_the_token_is_no_argument() -> None:
    root = Path(__file__).parents[1] / "cli" / "help"
    for command in ("submit", "status", "logs", "stop", "fetch"):
        text = (root / f"autoft-{command}.txt").read_text()
        assert "--token-file" in text
        assert "--token " not in text
    assert os.environ.get("RAY_AUTH_TOKEN") is None
