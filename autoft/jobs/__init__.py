"""A search as a job on a Ray cluster: submit it, watch it, stop it, bring its run home.

`submit` takes a run that is laid, or a `SearchRequest`, which it lays first. Everything is imported when it is first
needed; Ray's job client comes with the extra `autoft[cluster]`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoft.jobs.fetching import Fetched, fetch
    from autoft.jobs.server import JobInfo, JobServer, connect
    from autoft.jobs.submitting import submit, submit_in_place
    from autoft.jobs.watching import JobStatus, status, stop

_HOMES = {
    "Fetched": "fetching",
    "JobInfo": "server",
    "JobServer": "server",
    "JobStatus": "watching",
    "connect": "server",
    "fetch": "fetching",
    "status": "watching",
    "stop": "watching",
    "submit": "submitting",
    "submit_in_place": "submitting",
}

__all__ = [
    "Fetched",
    "JobInfo",
    "JobServer",
    "JobStatus",
    "connect",
    "fetch",
    "status",
    "stop",
    "submit",
    "submit_in_place",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoft.jobs' has no attribute '{name}'")
    return getattr(importlib.import_module(f"autoft.jobs.{_HOMES[name]}"), name)
