"""Object stores through pyarrow.fs: named without credentials, never waited for without end, asked again if need be."""

import os
import random
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pyarrow import fs

from autoft.core.errors import ConfigError, StorageError, nearest

PATIENCE_SECONDS = 30.0
"""What may pass, such as a store that is busy or cannot be reached, is tried again for so long."""
SILENT_SECONDS = 10.0
"""A request that brings no byte for so long has failed."""
CONNECT_SECONDS = 5.0
SMALL_BYTES = 4 * 2**20
"""Of an object of at most so much, S3 is sent one request and no more."""

_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_S3_OPTIONS = {
    "allow_bucket_creation": bool,
    "endpoint_override": str,
    "force_virtual_addressing": bool,
    "region": str,
    "scheme": str,
    "tls_ca_file_path": str,
}
"""What a query may say: the arguments of `pyarrow.fs.S3FileSystem` that are no secrets."""
_FLAT = ("s3", "gcs", "abfs")
"""Kinds of file systems, as pyarrow calls them, that have no folders to be made."""
_SECRET = re.compile(r"key|secret|token|passw|credential|sas|signature", re.IGNORECASE)
_UNKNOWN_BUCKET = re.compile(r"NO_SUCH_BUCKET|bucket does not exist|specified bucket", re.IGNORECASE)
_GONE = re.compile(r"RESOURCE_NOT_FOUND|NO_SUCH_KEY|HTTP status 404")
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|TOKEN_EXPIRED"
    r"|MISSING_AUTH|NOT_SIGNED_UP|UNAUTHENTICATED|PERMISSION_DENIED|HTTP status 40[13]|[Cc]redentials|authentication"
)
_PASSES = re.compile(
    r"NETWORK_CONNECTION|curlCode|HTTP status (408|429|5\d\d)|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE"
    r"|REQUEST_TIMEOUT|REQUEST_TIME_TOO_SKEWED|NO_SUCH_UPLOAD|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|ABORTED"
    r"|[Tt]imed? ?out|[Cc]onnection|reset by peer"
)
_UNREACHABLE = re.compile(r"curlCode: [67],")
"""curl's numbers for a name that is none, and for nobody who listens."""

_draws = random.Random()  # not the generator that training draws from
_answered: set[str] = set()
"""Stores that have answered this process, each with its bucket."""
T = TypeVar("T")


def has_folders(filesystem: fs.FileSystem) -> bool:
    """Return whether a folder must be made before a file can be written into it."""
    return filesystem.type_name not in _FLAT


def opened(uri: str) -> tuple[fs.FileSystem, fs.FileSystem, str]:
    """Return a file system, another one for small files, and the path that a URI names there; asks nobody.

    But for one: the region of a bucket of Amazon's, where the URI does not say it.

    Raises:
        ConfigError: If the URI holds credentials, an option that is none, or names no file system or no folder.
    """
    try:
        parts = urlsplit(uri)
        refuse_credentials(parts)
        if parts.scheme == "s3":
            filesystem, small = _s3(parts.netloc, parts.query, _environment())
            root = unquote(parts.netloc + parts.path)
        else:
            filesystem, root = fs.FileSystem.from_uri(_limited(uri, SILENT_SECONDS))
            small = filesystem
    except ConfigError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigError(_not_opened(uri, error)) from error
    root = root.rstrip("/")
    if not root:
        raise ConfigError(f"'{uri}' names no folder; give one, such as {parts.scheme}://bucket/folder.")
    return filesystem, small, root


def refuse_credentials(parts: SplitResult) -> None:
    """Refuse a URI with a secret in it: a run's record and logs would keep it.

    Raises:
        ConfigError: If there is one; does not repeat it.
    """
    user = parts.netloc.rpartition("@")[0]
    in_netloc = ":" in user or (parts.scheme in ("s3", "gs", "gcs") and (user or ":" in parts.netloc))
    query = parse_qsl(parts.query, keep_blank_values=True)
    if in_netloc or any(_SECRET.search(name) or "@" in value for name, value in query):
        raise ConfigError(
            f"The name of the {parts.scheme}:// folder holds credentials, which the run's record and logs would keep; "
            "leave them out, and put them into the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "GOOGLE_APPLICATION_CREDENTIALS) or give the machines a role."
        )


def require_answer(uri: str, filesystem: fs.FileSystem, root: str) -> None:
    """Find that a store answers and has the bucket; it is asked once a process.

    Raises:
        ConfigError: If it cannot be reached, or the bucket is unknown or may not be read.
    """
    bucket = root.partition("/")[0]
    asked = f"{uri.partition('://')[0]}://{bucket}?{urlsplit(uri).query}"
    if asked in _answered:
        return
    try:
        is_empty = not _first_look(uri, filesystem, root)
        if is_empty and not has_folders(filesystem) and _is_unknown(uri, filesystem, bucket):
            raise ConfigError(_unknown_bucket(uri))
    except StorageError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise ConfigError(_not_opened(uri, error)) from error
    _answered.add(asked)


def _first_look(uri: str, filesystem: fs.FileSystem, root: str) -> list[fs.FileInfo]:
    """Return what lies in a folder; where nobody listens that is said at once: a mistyped name needs no patience."""
    selector = fs.FileSelector(root, allow_not_found=True)
    try:
        hasty, _ = fs.FileSystem.from_uri(_limited(uri, 1)) if filesystem.type_name == "gcs" else (filesystem, root)
        return list(hasty.get_file_info(selector))
    except OSError as error:
        if filesystem.type_name == "gcs" or _UNREACHABLE.search(str(error)):
            raise
    return patiently(uri, lambda: list(filesystem.get_file_info(selector)))


def _is_unknown(uri: str, filesystem: fs.FileSystem, bucket: str) -> bool:
    return bool(patiently(uri, lambda: filesystem.get_file_info(bucket)).type == fs.FileType.NotFound)


def patiently(uri: str, call: Callable[[], T]) -> T:
    """Return what a call to a store gives; what may pass is tried again, with longer and longer pauses.

    Raises:
        StorageError: If it does not pass, or never will.
        OSError: If it is another failure, such as a file that is not there.
    """
    started, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = str(error).rstrip(". ")
            if _UNKNOWN_BUCKET.search(reason):
                raise StorageError(_unknown_bucket(uri)) from error
            if _GONE.search(reason):  # it was removed between two requests of one call
                raise FileNotFoundError(f"There is no such file any more: {reason}") from error
            if _DENIED.search(reason):
                raise StorageError(_denied(uri, reason)) from error
            if not _PASSES.search(reason):
                raise
            waited = time.monotonic() - started
            if waited + pause > PATIENCE_SECONDS:
                raise StorageError(
                    f"'{uri}' does not answer as it should, after {waited:.0f} s of trying: {reason}."
                ) from error
        time.sleep(pause * _draws.uniform(0.5, 1.0))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _not_opened(uri: str, error: Exception) -> str:
    said = f"Cannot open the folder '{uri}': {str(error).rstrip('.')}."
    if not _UNREACHABLE.search(said):
        return said
    return (
        f"{said} Look at this machine's network, and where the store is not Amazon's own, at its address in "
        "AWS_ENDPOINT_URL or in the name: ?endpoint_override=HOST:PORT&scheme=http."
    )


def _denied(uri: str, reason: str) -> str:
    scheme = uri.partition("://")[0]
    how = {
        "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name an AWS_PROFILE, or give this machine a role",
        "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account",
    }.get(scheme, "give this machine an identity")
    return f"Access to '{uri}' is denied: {reason}; {how}, one that may list, read, write and delete there."


def _unknown_bucket(uri: str) -> str:
    return f"There is no bucket '{urlsplit(uri).netloc}', which '{uri}' names; make it, or correct its name."


def _environment() -> tuple[tuple[str, str], ...]:
    """Return the variables that decide how S3 is reached."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=8)
def _s3(netloc: str, query: str, environment: tuple[tuple[str, str], ...]) -> tuple[fs.FileSystem, fs.FileSystem]:
    """Return the file systems of S3 for a bucket; a small object is sent at once, which a large one must not be.

    The endpoint is the URI's or else, as for all of Amazon's tools, the environment's, which pyarrow 26 heeds in
    `FileSystem.from_uri` alone.

    An object of several parts whose upload fails at its start would be published empty (pyarrow 26).
    """
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _S3_OPTIONS:
            known = ", ".join(_S3_OPTIONS)
            raise ValueError(f"an s3:// folder has no option '{name}'.{nearest(name, _S3_OPTIONS)} Allowed: {known}")
        options[name] = value if _S3_OPTIONS[name] is str else value.lower() in ("1", "true")
    names = dict(environment)
    endpoint = names.get("AWS_ENDPOINT_URL_S3") or names.get("AWS_ENDPOINT_URL")
    if "endpoint_override" not in options and endpoint:
        options["scheme"], _, options["endpoint_override"] = endpoint.rstrip("/").rpartition("://")
        options["scheme"] = options["scheme"] or "https"
    if "region" not in options and "endpoint_override" not in options and netloc:
        options["region"] = fs.resolve_s3_region(netloc)
    options |= {"request_timeout": SILENT_SECONDS, "connect_timeout": CONNECT_SECONDS}
    options["retry_strategy"] = fs.AwsStandardS3RetryStrategy(max_attempts=2)
    return fs.S3FileSystem(**options), fs.S3FileSystem(**options | {"allow_delayed_open": True})


def _limited(uri: str, seconds: float) -> str:
    """Return a URI of Google's storage with a limit to its tries, which are 15 minutes a request without one."""
    if uri.partition("://")[0] not in ("gs", "gcs") or "retry_limit_seconds" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={seconds:.0f}"
