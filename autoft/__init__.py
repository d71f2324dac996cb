"""Search, together, which pretrained model to fine-tune and how."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from autoft.api import SearchResult, load, open_run, reproduce, resume, search
    from autoft.artifact.model import Model
    from autoft.core.configs import Budget, Resources, StrategyConfig
    from autoft.core.errors import AutoftError, UserError
    from autoft.space import SearchSpace

_HOMES = {
    "AutoftError": "autoft.core.errors",
    "Budget": "autoft.core.configs",
    "Model": "autoft.artifact.model",
    "Resources": "autoft.core.configs",
    "SearchResult": "autoft.api",
    "SearchSpace": "autoft.space",
    "StrategyConfig": "autoft.core.configs",
    "UserError": "autoft.core.errors",
    "load": "autoft.api",
    "open_run": "autoft.api",
    "reproduce": "autoft.api",
    "resume": "autoft.api",
    "search": "autoft.api",
}

__all__ = [
    "AutoftError",
    "Budget",
    "Model",
    "Resources",
    "SearchResult",
    "SearchSpace",
    "StrategyConfig",
    "UserError",
    "__version__",
    "load",
    "open_run",
    "reproduce",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    """Find a public name when it is first used: `import autoft` alone loads no library."""
    if name not in __all__:
        raise AttributeError(f"module 'autoft' has no attribute '{name}'")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("autoft")
    else:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
