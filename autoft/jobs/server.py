"""A cluster's job server, asked by Ray's own client; every way in which it may refuse is one sentence."""

import contextlib
import http.client
import importlib.util
import json
import logging
import os
import platform
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from autoft.core.errors import ConfigError, WorkError, first_line, nearest
from autoft.core.jsonable import Json
from autoft.jobs.address import EXAMPLE, WHERE_TOKENS_LIE, Token, find_token, parse_address, unencrypted

ANSWER_SECONDS = 5.0
"""How long a server may take to say that it is one."""
REQUEST_SECONDS = 60.0
"""How long any later answer may take."""
RUN_KEY = "autoft_run"
"""Under this key a job's metadata hold where its run lies."""
ENDED = ("stopped", "succeeded", "failed")
"""States that a job does not leave."""
_OVERRIDING = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray's client prefers what these say to the address that it is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobInfo:
    """A job of autoft, as its server knows it."""

    job: str
    state: str
    """pending, running, stopped, succeeded or failed."""
    run: str
    """Where its run lies."""
    started: float | None
    """Seconds since 1970."""
    ended: float | None
    message: str
    """In words, for the state."""

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED


class _Staying(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the token is for the server that was asked."""

    def redirect_request(  # noqa: PLR0917 - as the library calls it
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class JobServer:
    """The job server of a cluster; `connect` makes one."""

    def __init__(self, url: str, token: Token | None, warnings: tuple[str, ...]) -> None:
        self.url = url
        self.warnings = warnings
        """What a person should know of the connection, one sentence each."""
        self._token = token
        with _asking(self), _plain_environment():
            self._client = _client(url, _headers(token))

    def submit(self, job: str, *, entrypoint: str, runtime_env: Json, metadata: Mapping[str, str]) -> None:
        """Submit a job under the name `job`; what lies in `working_dir` is uploaded unless the server has it.

        Raises:
            ConfigError: If the server refuses it.
            WorkError: If it does not answer.
        """
        with _asking(self):
            self._client.submit_job(
                submission_id=job, entrypoint=entrypoint, runtime_env=runtime_env, metadata=dict(metadata)
            )

    def jobs(self) -> list[JobInfo]:
        """Return autoft's jobs, the newest first."""
        with _asking(self):
            found = [_info(details) for details in self._client.list_jobs()]
        jobs = [info for info in found if info is not None]
        return sorted(jobs, key=lambda info: info.started or 0.0, reverse=True)

    def info(self, job: str) -> JobInfo:
        """Return what is known of a job.

        Raises:
            ConfigError: If there is no such job, or it is none of autoft's.
        """
        with _asking(self, job):
            details = self._client.get_job_info(job)
        found = _info(details)
        if found is None:
            raise ConfigError(
                f"The job '{job}' was not submitted by autoft; `autoft status --address {self.url}` shows those that "
                "were."
            )
        return found

    def stop(self, job: str) -> None:
        """Ask a job to end; one that has ended is no error."""
        with _asking(self, job):
            self._client.stop_job(job)

    def log(self, job: str) -> str:
        """Return what a job has printed."""
        with _asking(self, job):
            return str(self._client.get_job_logs(job))

    async def follow_log(self, job: str) -> AsyncIterator[str]:
        """Yield what a job has printed, then what it prints, until it ends or the connection does."""
        async for text in self._client.tail_job_logs(job):
            yield str(text)

    def unknown(self, job: str) -> ConfigError:
        """Return the error that there is no such job."""
        known = [info.job for info in self.jobs()]
        return ConfigError(
            f"There is no job '{job}' at {self.url}.{nearest(job, known)} `autoft status --address {self.url}` shows "
            "all."
        )


def connect(address: str, *, token_file: str | Path | None = None) -> JobServer:
    """Return the job server at an address, after it has answered.

    Args:
        address: Such as http://HEAD:8265.
        token_file: A file with the token; None: where Ray's own tools look for one.

    Raises:
        ConfigError: If the address is none, nobody or what is no job server answers there, the token is missing or
            wrong, or Ray's job client is not installed.
    """
    url = parse_address(address)
    require_client()
    token = find_token(token_file)
    version = _probe(url, token)
    warnings = []
    if token is not None and unencrypted(url):
        host = url.partition("://")[2]
        warnings.append(
            f"The token travels to {host} unencrypted; where others can listen, forward the port over SSH (`ssh -L "
            "8265:localhost:8265 HEAD`) and give http://localhost:8265."
        )
    warnings += _differences(url, token, version)
    return JobServer(url, token, tuple(warnings))


def require_client() -> None:
    """Refuse to go on where Ray's job client is not installed.

    Raises:
        ConfigError: Naming the extra that installs it.
    """
    if importlib.util.find_spec("aiohttp") is None or importlib.util.find_spec("opencensus") is None:
        raise ConfigError(
            "Ray's job client is not installed; `pip install 'autoft[cluster]'` (ray[default]) installs it."
        )


def _probe(url: str, token: Token | None) -> str:
    """Return the version of Ray of the server at `url`.

    Raises:
        ConfigError: If it does not answer within seconds, refuses the token, or is no job server.
    """
    try:
        answer = _get(f"{url}/api/version", token)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise _refused(url, token) from None
        raise _no_server(url, f"it answers with {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"The job server at {url} cannot be reached ({first_line(reason).rstrip('.')}); the address is that of the "
            f"cluster's dashboard, {EXAMPLE}, which a firewall may hide: forward its port over SSH."
        ) from None
    except http.client.HTTPException:  # a connection that was closed at once is an OSError as well
        raise _no_server(url, "it does not speak HTTP") from None
    version = answer.get("ray_version") if isinstance(answer, dict) else None
    if not isinstance(version, str):
        raise _no_server(url, "it answers something else")
    return version


def _get(url: str, token: Token | None) -> Any:
    """Return the JSON at a URL; None where it is none."""
    request = urllib.request.Request(url, headers=_headers(token))
    opener = urllib.request.build_opener(_Staying)
    with opener.open(request, timeout=ANSWER_SECONDS) as answer:
        content = answer.read(1 << 20)
    try:
        return json.loads(content)
    except ValueError:
        return None


def _headers(token: Token | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token.value}"}


def _no_server(url: str, why: str) -> ConfigError:
    return ConfigError(
        f"What listens at {url} is no Ray job server ({why}); the address is that of the cluster's dashboard, "
        f"{EXAMPLE}, on a cluster with `ray[default]` installed."
    )


def _refused(url: str, token: Token | None) -> ConfigError:
    if token is None:
        return ConfigError(
            f"The cluster at {url} asks for a token, and there is none here; put the cluster's into {WHERE_TOKENS_LIE}."
        )
    return ConfigError(
        f"The cluster at {url} refuses the token of {token.source}; put the cluster's into {WHERE_TOKENS_LIE}."
    )


def _differences(url: str, token: Token | None, ray_there: str) -> Iterator[str]:
    """Yield a sentence where Python or Ray there is another than here."""
    from importlib.metadata import version

    try:
        answer = _get(f"{url}/api/v0/cluster_metadata", token)
    except urllib.error.HTTPError as error:
        error.close()
        answer = None
    except (OSError, ValueError, http.client.HTTPException):  # what it says is only for a warning
        answer = None
    data = answer.get("data") if isinstance(answer, dict) else None
    python_there = str((data or {}).get("pythonVersion") or "")
    here = {"Python": platform.python_version(), "Ray": version("ray")}
    there = {"Python": python_there or here["Python"], "Ray": ray_there}
    other = [f"{name} {there[name]} there and {here[name]} here" for name in here if there[name] != here[name]]
    if other:
        yield f"The cluster at {url} differs from this machine: {', '.join(other)}."


def _client(url: str, headers: dict[str, str]) -> Any:
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]  # Ray has no types
        """Ray's client, which would wait for an answer without end."""

        def _do_request(self, method: str, endpoint: str, **given: Any) -> Any:
            return super()._do_request(method, endpoint, **{"timeout": (ANSWER_SECONDS, REQUEST_SECONDS), **given})

    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk", "ray._private"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return Client(url, headers=headers)


@contextlib.contextmanager
def _plain_environment() -> Iterator[None]:
    """Hide from Ray's client the variables that would send it to another address."""
    former = {name: os.environ.pop(name) for name in _OVERRIDING if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(former)


@contextlib.contextmanager
def _asking(server: JobServer, job: str | None = None) -> Iterator[None]:
    """Turn what Ray's client raises into one sentence.

    Raises:
        ConfigError: If the token is refused, or there is no such job.
        WorkError: If the server does not answer, or fails.
    """
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError:
        raise _refused(server.url, server._token) from None
    except (requests.RequestException, ConnectionError) as error:
        raise WorkError(
            f"The job server at {server.url} does not answer any more ({type(error).__name__}); the job goes on if "
            "the cluster does, and its run can be read, fetched and resumed from where it lies."
        ) from None
    except (RuntimeError, ValueError) as error:
        text = first_line(error).rstrip(".")
        if job is not None and ("404" in text or "does not exist" in text):
            raise server.unknown(job) from None
        raise WorkError(f"The job server at {server.url} refuses: {text}") from None


def _info(details: Any) -> JobInfo | None:
    """Return what Ray says of a job; None if it is none of autoft's."""
    run = (details.metadata or {}).get(RUN_KEY)
    if run is None or details.submission_id is None:
        return None
    return JobInfo(
        job=str(details.submission_id),
        state=str(getattr(details.status, "value", details.status)).lower(),
        run=str(run),
        started=None if not details.start_time else details.start_time / 1000,
        ended=None if not details.end_time else details.end_time / 1000,
        message=_last_words(details.message or ""),
    )


def _last_words(message: str) -> str:
    """Return Ray's message as one line: of a failure, the last line that the job printed.

    Ray's own line, which names the entrypoint, may lie behind what the shell said of it.
    """
    stripped = [line.strip() for line in message.splitlines()]
    lines = [line for line in stripped if line and not line.startswith("Running entrypoint for job ")]
    if len(lines) > 1 and "last available logs" in lines[0]:
        return f"{lines[0].partition(', last')[0]}: {lines[-1]}"
    return lines[0] if lines else ""
