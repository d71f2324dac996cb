"""Servers of loopback that answer as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from typing import Any


@contextmanager
def listening(answer: Callable[[Any], None]) -> Iterator[str]:
    """Have an HTTP server that answers every request so, and its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            answer(self)

        def do_PUT(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answering(status: int, body: Any, **headers: str) -> Callable[[Any], None]:
    def answer(request: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def job_server(seen: list[str]) -> Callable[[Any], None]:
    """Return how a job server of this Ray answers that has no job, and notes what it is asked."""

    def answer(request: Any) -> None:
        seen.append(f"{request.command} {request.path}")
        body: Any = {"version": "4", "ray_version": version("ray"), "ray_commit": "", "session_name": ""}
        answering(200, [] if request.path == "/api/jobs/" else body)(request)

    return answer


class Jobs:
    """A job server of this Ray: keeps the jobs that are submitted, which are in `state` from the beginning."""

    def __init__(self) -> None:
        self.state = "SUCCEEDED"
        """Of a job that is submitted next."""
        self.details: dict[str, Any] = {}
        """By the job, what the server says of it."""
        self.printed = "printed there\n"
        """The log of every job."""

    def answer(self, request: Any) -> None:
        """Answer a request as Ray does; a log cannot be followed."""
        match request.command, [part for part in request.path.split("/") if part]:
            case "GET", ["api", "version"]:
                job_server([])(request)
            case "POST", ["api", "jobs"]:
                given = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
                answering(200, self._submitted(given))(request)
            case "GET", ["api", "jobs"]:
                answering(200, [*self.details.values()])(request)
            case "GET", ["api", "jobs", job]:
                answering(200, self.details[job])(request)
            case "GET", ["api", "jobs", _, "logs"]:
                answering(200, {"logs": self.printed})(request)
            case "POST", ["api", "jobs", job, "stop"]:
                self.details[job]["status"] = "STOPPED"
                answering(200, {"stopped": True})(request)
            case _:
                answering(404, b"")(request)

    def _submitted(self, given: Any) -> Any:
        job = given["submission_id"]
        known = {name: given[name] for name in ("submission_id", "entrypoint", "runtime_env", "metadata")}
        self.details[job] = {"type": "SUBMISSION", "status": self.state, **known}
        return {"job_id": job, "submission_id": job}
