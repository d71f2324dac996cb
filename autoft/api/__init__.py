"""What a person calls from Python; `import autoft` offers the same names, each imported when it is first needed."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoft.api.demonstration import DemoResult, demo
    from autoft.api.experience import build_experience
    from autoft.api.laying import SearchRequest
    from autoft.api.reproduction import Reproduction, reproduce
    from autoft.api.result import Best, SearchResult, load, open_run, replay
    from autoft.api.searching import resume, search, search_for
    from autoft.api.space_check import check_space

_HOMES = {
    "Best": "result",
    "DemoResult": "demonstration",
    "Reproduction": "reproduction",
    "SearchRequest": "laying",
    "SearchResult": "result",
    "build_experience": "experience",
    "check_space": "space_check",
    "demo": "demonstration",
    "load": "result",
    "open_run": "result",
    "replay": "result",
    "reproduce": "reproduction",
    "resume": "searching",
    "search": "searching",
    "search_for": "searching",
}

__all__ = [
    "Best",
    "DemoResult",
    "Reproduction",
    "SearchRequest",
    "SearchResult",
    "build_experience",
    "check_space",
    "demo",
    "load",
    "open_run",
    "replay",
    "reproduce",
    "resume",
    "search",
    "search_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoft.api' has no attribute '{name}'")
    return getattr(importlib.import_module(f"autoft.api.{_HOMES[name]}"), name)
