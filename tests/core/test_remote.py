import pickle
import re
import threading
from pathlib import Path

import pytest

from autoft.core import remote
from autoft.core.errors import ConfigError, StorageError
from autoft.core.storage import Store, joined
from tests.s3 import Mishap, Request, Server, seeded


@pytest.fixture
def store(s3: Server) -> Store:
    return Store.open(s3.uri("run"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what may pass be given up after a second."""
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 1.0)


def methods(requests: list[Request]) -> list[str]:
    return [request.method for request in requests]


def test_what_is_written_is_read_listed_and_removed(store: Store) -> None:
    assert store.list() == []
    assert not store.exists("a")
    store.write("a", b"one", memoryview(b" and two"))
    store.write("folder/b", b"")
    assert store.read("a") == b"one and two"
    assert store.read("a", offset=4) == b"and two"
    assert store.list() == ["a", "folder"]
    assert store.sizes() == {"a": 11}
    assert (store.size("a"), store.size("folder"), store.size("none")) == (11, None, None)
    assert store.exists("folder")
    store.write("a", b"new")
    assert store.read("a") == b"new"
    store.delete("folder")
    store.delete("none")
    store.delete_files("a", "none")
    assert store.list() == []
    with pytest.raises(FileNotFoundError):
        store.read("a")


def test_a_small_file_is_one_request(store: Store, s3: Server) -> None:
    with s3.counted() as requests:
        store.write("new/folder/a", b"x" * remote.SMALL_BYTES)
    assert methods(requests) == ["PUT"]
    with s3.counted() as requests:
        assert store.sizes("new/folder") == {"a": remote.SMALL_BYTES}
    assert methods(requests) == ["GET"]


@pytest.mark.parametrize(
    "mishap", ["500", "cut", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("503", "cut first"))]
)
def test_what_passes_is_not_noticed(store: Store, s3: Server, mishap: Mishap) -> None:
    left = {"PUT": 3 if mishap == "503" else 1, "GET": 1, "HEAD": 1, "DELETE": 1}

    def rule(request: Request) -> Mishap | None:
        left[request.method] -= 1
        return mishap if left[request.method] >= 0 else None

    with s3.failing(rule):
        store.write("a", b"x" * 1000)
        assert store.read("a") == b"x" * 1000
        assert store.list() == ["a"]
        store.delete("a")
        assert not store.exists("a")
    assert s3.num_mishaps >= 4


def test_a_large_file_is_streamed_there_and_back_through_failures(store: Store, s3: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * (2**17)  # 32 MiB
    (tmp_path / "large").write_bytes(content)
    beats: list[int] = []
    with s3.failing(seeded(3, 0.3, ("500", "503", "cut", "cut first"))):
        store.upload(tmp_path / "large", "large")
        store.download("large", tmp_path / "again", heartbeat=lambda: beats.append(1))
    assert s3.num_mishaps > 2
    assert (tmp_path / "again").read_bytes() == content
    assert len(beats) == 2


@pytest.mark.parametrize("fails", ["uploads", "partNumber=2", "uploadId"])
def test_a_large_write_that_fails_at_any_step_leaves_the_old_content(
    store: Store, s3: Server, impatient: None, fails: str
) -> None:
    store.write("a", b"old")
    with (
        s3.failing(lambda request: "500" if request.query.startswith(fails) else None),
        pytest.raises(StorageError, match="does not answer as it should"),
    ):
        store.write("a", b"x" * 11_000_000)
    assert store.read("a") == b"old"


def test_what_does_not_pass_is_said_in_one_sentence(store: Store, s3: Server, impatient: None) -> None:
    with s3.failing(lambda _: "503"), pytest.raises(StorageError) as raised:
        store.write("a", b"x")
    assert re.fullmatch(
        rf"'{re.escape(s3.uri('run'))}' does not answer as it should, after \d s of trying: When uploading .*"
        r"SLOW_DOWN during PutObject operation: Please reduce your request rate\.",
        str(raised.value),
    )
    assert isinstance(raised.value, OSError)


def test_a_store_that_falls_silent_is_not_waited_for_without_end(
    s3: Server, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SILENT_SECONDS", 1.0)
    store = Store.open(s3.uri("run") + "&region=elsewhere")
    with s3.failing(lambda _: "silent"), pytest.raises(StorageError, match="Less than 1 bytes/sec"):
        store.read("a")


def test_a_refusal_is_said_at_once_with_the_remedy(store: Store, s3: Server) -> None:
    with s3.failing(lambda _: "403"), s3.counted() as requests, pytest.raises(StorageError) as raised:
        store.write("a", b"x")
    assert len(requests) == 1
    assert str(raised.value).startswith(f"Access to '{s3.uri('run')}' is denied: ")
    assert "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name an AWS_PROFILE, or give" in str(raised.value)
    assert "test-secret-key" not in str(raised.value)


def test_a_bucket_that_is_none_is_refused_when_it_is_opened(s3: Server) -> None:
    with pytest.raises(
        ConfigError, match=r"There is no bucket 'nobodys', which 's3://nobodys/run.*' names; make it, or"
    ):
        Store.open(s3.uri("run", bucket="nobodys"))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_endpoint_may_come_from_the_environment(
    store: Store, s3: Server, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("a.txt", b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(variable, f"http://{s3.address}")
    assert Store.open(f"s3://{store.path()}").read("a.txt") == b"x"


def test_a_bucket_that_is_removed_is_said(store: Store, s3: Server) -> None:
    s3.remove_bucket()
    with pytest.raises(StorageError, match=f"There is no bucket '{s3.bucket}'"):
        store.write("a", b"x" * 2**23)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_where_nobody_listens_that_is_said_at_once(host: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"Cannot open the folder 's3://bucket/run.*': .* curlCode: [67], .*\. Look at .* AWS_ENDPOINT_URL",
    ):
        Store.open(f"s3://bucket/run?endpoint_override={host}&scheme=http")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAXXXX:wJalrXUtnFEMI@bucket/run",
        "s3://AKIAXXXX:wJalrXUt/nFEMI@bucket/run",
        "s3://wJalrXUtnFEMI@bucket/run",
        "s3://bucket/run?secret_key=wJalrXUtnFEMI",
        "s3://bucket/run?session_token=wJalrXUtnFEMI",
        "s3://bucket/run?endpoint_override=user:wJalrXUtnFEMI@host",
        "gs://name:wJalrXUtnFEMI@bucket/run",
        "abfs://:wJalrXUtnFEMI@account/container/run",
    ],
)
def test_a_folder_with_credentials_in_its_name_is_refused_without_repeating_them(uri: str) -> None:
    with pytest.raises(ConfigError, match="holds credentials, which the run's record and logs would keep") as raised:
        Store.open(uri)
    assert "nFEMI" not in str(raised.value)


def test_an_option_that_is_none_is_refused_with_the_ones_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no option 'regoin'. Did you mean 'region'\? Allowed: allow_bucket_creation,"
    ):
        Store.open("s3://bucket/run?regoin=eu-west-1")


def test_a_store_that_travels_carries_its_name_and_no_credentials(store: Store, s3: Server) -> None:
    sub = store.within("checkpoints/t 1")
    sub.write("a", b"x")
    packed = pickle.dumps(sub)
    for secret in (b"test-key-id", b"test-secret-key"):
        assert secret not in packed
    with s3.counted() as requests:
        again: Store = pickle.loads(packed)
    assert requests == []
    assert again == sub
    assert again.read("a") == b"x"
    assert again.filesystem is sub.filesystem


def test_a_local_store_travels_too(tmp_path: Path) -> None:
    store = Store.open(tmp_path).within("a")
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_folder_within_a_folder_is_named_before_the_query() -> None:
    assert joined("s3://bucket/run?scheme=http", "best") == "s3://bucket/run/best?scheme=http"
    assert joined("s3://bucket/run/", "logs/a b") == "s3://bucket/run/logs/a%20b"
    assert joined("runs/a?b", "best") == "runs/a?b/best"


def test_several_threads_write_side_by_side(store: Store) -> None:
    writers = [threading.Thread(target=store.write, args=("a", bytes([65 + n]) * 10_000)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = store.read("a")
    assert content == content[:1] * 10_000
