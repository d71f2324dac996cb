"""Whether a hub answers, found out in seconds. Loads no torch."""

import os
import queue
import socket
import threading
import time
from base64 import b64encode
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

TIMEOUT_SECONDS = 3.0
"""For everything together: name, proxy, connection."""


def hub_endpoint() -> str:
    """Return the hub's address, by HF_ENDPOINT."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def why_unreachable(url: str) -> str | None:
    """Return why no connection to `url` can be made, in words, or None if one can; takes at most 3 seconds."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(variable, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return f"{variable} is set"
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    # A thread, since looking up a name has no time limit of its own.
    threading.Thread(target=lambda: answers.put(_try(url)), daemon=True).start()
    try:
        return answers.get(timeout=TIMEOUT_SECONDS)
    except queue.Empty:
        return f"{_address(url)[0]} does not answer within {TIMEOUT_SECONDS:g} seconds"


def _try(url: str) -> str | None:
    host, port = _address(url)
    proxy = None if proxy_bypass(host) else getproxies().get(urlsplit(url).scheme)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with socket.create_connection(_address(proxy or url), timeout=TIMEOUT_SECONDS) as connection:
            if proxy is None:
                return None
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.sendall(_connect_request(host, port, proxy))
            status = connection.recv(64).split(b"\r\n")[0].decode("latin-1")
            return None if " 200" in status else f"the proxy refuses {host}:{port} ({status})"
    except OSError as error:
        through = f" through the proxy {':'.join(map(str, _address(proxy)))}" if proxy else ""
        return f"{host}:{port} cannot be reached{through} ({error.strerror or error})"


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "//" in url else f"//{url}")
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def _connect_request(host: str, port: int, proxy: str) -> bytes:
    parts = urlsplit(proxy)
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode()
