"""Processes that die before a chosen step on the disk."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest

STEPS = ("open", "fdopen", "pwrite", "ftruncate", "fsync", "link", "rename", "replace")
"""The functions of `os` that count as a step."""


def steps_of(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each step on the disk adds its name from now on."""
    steps: list[str] = []

    def noted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            steps.append(name)
            return original(*args, **kwargs)

        return call

    for name in STEPS:
        patch.setattr(os, name, noted(name, getattr(os, name)))
    return steps


def is_killed(work: Callable[[], object], *, before: int, prepare: Callable[[], object] = lambda: None) -> bool:
    """Work in a child that dies before a step of it, and return whether it came to that step.

    Args:
        work: What it does.
        before: The number of the step, from 0.
        prepare: What the child does before, whose steps do not count.
    """
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 1)
        return code == 1
    left = before

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os._exit(1)
            left -= 1
            return original(*args, **kwargs)

        return call

    with contextlib.suppress(Exception):
        prepare()
        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    os._exit(2)
