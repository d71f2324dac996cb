import threading
import time
from collections.abc import Iterator

import pytest

from autoft.training.prefetch import ahead


def test_order_is_kept_and_all_are_made_in_one_other_thread() -> None:
    threads = set()

    def make(item: int) -> int:
        threads.add(threading.current_thread().name)
        return item * item

    assert list(ahead(make, range(6))) == [0, 1, 4, 9, 16, 25]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_one_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    batches = ahead(lambda item: made.append(item) or item, range(9))
    for item in (0, 1, 2):
        assert next(batches) == item
        deadline = time.monotonic() + 30
        while len(made) < item + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made == list(range(item + 2))


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    batches = ahead(str, items())
    assert next(batches) == "1"
    with pytest.raises(ValueError, match="the second"):
        next(batches)


def test_nothing_gives_nothing() -> None:
    assert list(ahead(str, [])) == []
