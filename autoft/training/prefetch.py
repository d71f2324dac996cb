"""The next batch made ready by a thread, while a GPU computes."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield `make` of each item, in order; the next one is being made while the former is used.

    Items are taken and made in one thread, one after another; an error is raised where its item would have come.
    """
    iterator = iter(items)

    def following() -> list[U]:
        return [make(item) for item in (next(iterator, None),) if item is not None]

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
        coming = thread.submit(following)
        while made := coming.result():
            coming = thread.submit(following)
            yield from made
