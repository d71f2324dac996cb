import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoft.training.batches import POOL, deal


@given(st.lists(st.integers(1, 128), min_size=1, max_size=300), st.integers(1, 90), st.integers(0, 9))
def test_every_row_is_dealt_once_into_batches_of_nearly_one_size(lengths: list[int], batches: int, seed: int) -> None:
    batches = min(batches, len(lengths))
    dealt = deal(np.array(lengths), batches, np.random.default_rng(seed))
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(lengths)))
    assert len(dealt) == batches
    sizes = [len(batch) for batch in dealt]
    assert max(sizes) - min(sizes) <= 1


def test_rows_of_like_length_come_together() -> None:
    lengths = np.random.default_rng(0).integers(1, 129, 16 * POOL)
    dealt = deal(lengths, POOL, np.random.default_rng(1))
    padded = sum(len(batch) * lengths[batch].max() for batch in dealt)
    assert padded < 1.06 * lengths.sum()


def test_the_order_depends_on_the_draws_alone() -> None:
    lengths = np.arange(100)
    first, again, other = (deal(lengths, 10, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
