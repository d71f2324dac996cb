"""The address of a cluster's job server, and the token that it asks for."""

import ipaddress
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from autoft.core.errors import ConfigError
from autoft.core.paths import local_path

EXAMPLE = "http://HEAD:8265"
DEFAULT_TOKEN_FILE = "~/.ray/auth_token"
_HOST = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*\.?|[0-9a-f:.]+(%\w+)?")
_MOST_BYTES = 65536
WHERE_TOKENS_LIE = (
    f"RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, {DEFAULT_TOKEN_FILE}, or --token-file FILE"
)


def parse_address(address: str) -> str:
    """Return the URL of a job server, without a slash at its end.

    Raises:
        ConfigError: If it is none, or is a Ray client's; a password in it is not repeated.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"The address '{address}' is a Ray client's, which is not supported; give that of the cluster's job "
            f"server, the dashboard's: {EXAMPLE}."
        )
    text = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host or not _HOST.fullmatch(host) or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ConfigError(f"The address {_shown(text)} is not that of a job server, such as {EXAMPLE}.")
    if "@" in parts.netloc:
        raise ConfigError(
            f"The address {_shown(text)} holds a name or a password, which would be seen by others; give the token "
            f"in {WHERE_TOKENS_LIE}."
        )
    return text.rstrip("/")


def _shown(text: str) -> str:
    scheme, _, rest = text.partition("://")
    return f"'{scheme}://{rest.rpartition('@')[2]}'"


def unencrypted(url: str) -> bool:
    """Return whether what is sent to a URL can be read on its way: it is http, and leaves this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_loopback(parts)


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        found = {host} if _is_number(host) else {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:  # nobody has that name; the connection will say so
        return False
    return all(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback for one in found)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Token:
    """What a cluster asks for; its value is in no text that is made of it."""

    value: str = field(repr=False)
    source: str
    """Where it was found."""


def find_token(token_file: str | Path | None = None) -> Token | None:
    """Return the token: of `token_file`, or where Ray's own tools look for one; None where there is none.

    Raises:
        ConfigError: If a file that is named cannot be read, or what is found is no token.
    """
    if token_file is not None:
        return _read(local_path(token_file), f"the file '{token_file}'")
    if value := os.environ.get("RAY_AUTH_TOKEN"):
        return _checked(value, "RAY_AUTH_TOKEN")
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return _read(local_path(named), f"the file '{named}' of RAY_AUTH_TOKEN_PATH")
    default = Path(DEFAULT_TOKEN_FILE).expanduser()
    return _read(default, DEFAULT_TOKEN_FILE) if default.is_file() else None


def _read(path: Path, where: str) -> Token:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"The token cannot be read from {where}: {error.strerror}.") from error
    return _checked(content.decode("utf-8", "replace"), where)


def _checked(value: str, where: str) -> Token:
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(f"What lies in {where} is no token: a token is one word of printable characters.")
    return Token(value, where)
