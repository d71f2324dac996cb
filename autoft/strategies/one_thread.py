"""Linear algebra on one thread, whatever the machine has."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Let numpy's linear algebra take one thread until the block ends.

    How many there are decides the last digits of what it computes, and by them a decision may go another way on a
    machine with more cores. Beside trials that use them all, threads that wait for each other are also the slower way.
    """
    limited: AbstractContextManager[Any] = _numpys().limit(limits=1)
    return limited


@cache
def _numpys() -> Any:
    import numpy  # noqa: F401 - what is not loaded is not found
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")
