"""A real S3 server of loopback, whose requests are counted and whose answers fail where a test says so."""

import contextlib
import logging
import random
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Mishap = Literal["500", "503", "403", "cut", "cut first", "slow", "silent"]
_BODIES = {
    "500": ("500 Internal Server Error", "InternalError", "We encountered an internal error. Please try again."),
    "503": ("503 Slow Down", "SlowDown", "Please reduce your request rate."),
    "403": ("403 Forbidden", "AccessDenied", "Access Denied"),
}


SLOW_SECONDS = 0.3
SILENCE_SECONDS = 5.0


class Request(NamedTuple):
    """One request: "PUT", the path "bucket/key", and the query."""

    method: str
    path: str
    query: str


Rule = Callable[[Request], Mishap | None]


class Server:
    """Answers as S3 does, on a free port."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rule: Rule = lambda _: None
        """Which mishap a request meets."""
        self.num_mishaps = 0
        self.bucket = ""
        self._num_buckets = 0
        self._log = logging.getLogger("werkzeug")
        self._log.setLevel(logging.CRITICAL)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def uri(self, folder: str, *, bucket: str = "") -> str:
        """Return what names a folder of the newest bucket, or of another."""
        return f"s3://{bucket or self.bucket}/{folder}?endpoint_override={self.address}&scheme=http"

    def renew(self) -> None:
        """Make a new bucket, and let no request fail."""
        self.rule, self.num_mishaps = lambda _: None, 0
        self._num_buckets += 1
        self.bucket = f"bucket-{self._num_buckets}"
        self._ask("PUT")

    def remove_bucket(self) -> None:
        """Remove the newest bucket, which must be empty."""
        self._ask("DELETE")

    def _ask(self, method: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"http://{self.address}/{self.bucket}", method=method)).close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[Request]]:
        """Give a list that holds the requests made inside, once the block has ended."""
        before, found = len(self.requests), list[Request]()
        yield found
        found += self.requests[before:]

    @contextlib.contextmanager
    def failing(self, rule: Rule) -> Iterator[None]:
        """Let requests inside fail by a rule."""
        before, self.rule = self.rule, rule
        try:
            yield
        finally:
            self.rule = before

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/"), environ.get("QUERY_STRING", ""))
        with self._lock:
            self.requests.append(request)
            mishap = self.rule(request)
            self.num_mishaps += mishap is not None
        if mishap == "slow":
            time.sleep(SLOW_SECONDS)
        elif mishap == "silent":
            time.sleep(SILENCE_SECONDS)
        elif mishap in _BODIES:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code, message = _BODIES[mishap]
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if request.method == "HEAD" else body]
        elif mishap == "cut first":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        answer = self._app(environ, start)
        return _half(answer) if mishap == "cut" else answer


def _half(answer: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the first half of a body, and break off."""
    body = b"".join(answer)
    yield body[: len(body) // 2]
    raise ConnectionResetError


def seeded(seed: int, share: float, kinds: tuple[Mishap, ...] = ("500", "503", "cut", "cut first", "slow")) -> Rule:
    """Return a rule that lets a share of all requests fail, but none three times in a row."""
    draws, failed = random.Random(seed), dict[Request, int]()

    def rule(request: Request) -> Mishap | None:
        if draws.random() > share or failed.get(request, 0) == 2:
            failed.pop(request, None)
            return None
        failed[request] = failed.get(request, 0) + 1
        return draws.choice(kinds)

    return rule
