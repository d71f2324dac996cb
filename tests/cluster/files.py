"""What the tests of cluster/ share: where its files are, and how they are read."""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CLOUDS = ("aws", "gcp", "azure")
EXECUTABLES = Path(sys.executable).parent
"""Where shellcheck and hadolint lie, which come in wheels."""


def documents(name: str) -> list[dict[str, Any]]:
    """Return the YAML documents of a file in cluster/."""
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def command_lines() -> str:
    """Return the command lines of all processes of this machine, one a line."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(lines)
