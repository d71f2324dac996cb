from pathlib import Path

import pytest

from autoft.core.errors import ConfigError
from autoft.jobs.address import find_token, parse_address, unencrypted


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("https://ray.example.com/team", "https://ray.example.com/team"),
        ("head:8265", "http://head:8265"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_an_address_is_a_job_servers_url(given: str, url: str) -> None:
    assert parse_address(given) == url


def test_a_ray_clients_address_is_refused_with_the_job_servers() -> None:
    with pytest.raises(ConfigError, match=r"is a Ray client's, .* http://HEAD:8265\.$"):
        parse_address("ray://head:10001")


@pytest.mark.parametrize("given", ["", "ftp://head", "http://", "http://head:port", "http://head:8265?token=x", "a b"])
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="is not that of a job server"):
        parse_address(given)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="holds a name or a password") as refused:
        parse_address("http://me:hunter2@head:8265")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "can_be_read"),
    [
        ("http://127.0.0.1:8265", False),
        ("http://localhost:8265", False),
        ("http://[::1]:8265", False),
        ("https://203.0.113.7:8265", False),
        ("http://203.0.113.7:8265", True),
    ],
)
def test_http_that_leaves_this_machine_can_be_read_on_its_way(url: str, can_be_read: bool) -> None:
    assert unencrypted(url) is can_be_read


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    return tmp_path


def test_the_token_is_looked_for_where_ray_does_and_a_file_that_is_given_wins(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_token() is None
    found = []
    (home / ".ray" / "auth_token").write_text("of-home\n")
    found.append(find_token())
    (home / "named").write_text("of-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "named"))
    found.append(find_token())
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-environment")
    found.append(find_token())
    (home / "given").write_text("of-file")
    found.append(find_token(home / "given"))
    assert [token and token.value for token in found] == ["of-home", "of-path", "of-environment", "of-file"]
    assert [token and token.source for token in found] == [
        "~/.ray/auth_token",
        f"the file '{home}/named' of RAY_AUTH_TOKEN_PATH",
        "RAY_AUTH_TOKEN",
        f"the file '{home}/given'",
    ]
    assert "of-file" not in repr(found)


def test_a_token_file_that_is_not_there_is_an_error_and_no_other_is_taken(home: Path) -> None:
    (home / ".ray" / "auth_token").write_text("of-home")
    with pytest.raises(ConfigError, match=r"cannot be read from the file '.*missing': No such file"):
        find_token(home / "missing")


@pytest.mark.parametrize("content", ["", "\n", "two words", "two\nlines", "sch\u00f6n"])
def test_what_is_no_token_is_refused_and_not_repeated(home: Path, content: str) -> None:
    (home / "given").write_text(content)
    with pytest.raises(ConfigError, match="is no token: a token is one word") as refused:
        find_token(home / "given")
    assert not content.strip() or content.split(maxsplit=1)[0] not in str(refused.value)
