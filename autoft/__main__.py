"""`python -m autoft`: the command line, as a job on a cluster calls it."""

import importlib.util
import platform
import sys

NEEDED = (
    *("huggingface_hub", "hyperopt", "numpy", "pandas", "peft", "PIL", "pyarrow", "ray", "rich", "safetensors"),
    *("scipy", "sklearn", "threadpoolctl", "timm", "tokenizers", "torch", "torchvision", "transformers", "typer"),
    "yaml",
)
"""Packages that autoft depends on: where its code has travelled to, nobody may have installed them."""


def require_packages() -> None:
    """End the process with one sentence where this Python lacks a package that autoft depends on."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        sys.exit(
            f"Error: The Python {sys.executable} of {platform.node()} lacks {', '.join(lacking)}; install what "
            "autoft depends on there and on every node, or name the Python that has it: `autoft submit --python "
            "COMMAND`."
        )


if __name__ == "__main__":
    require_packages()

    from autoft.cli import main

    sys.exit(main())
