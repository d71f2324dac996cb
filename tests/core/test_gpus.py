import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.core.gpus import CONTEXT_MB, MOST_SHARES, share_for, tensor_fraction


@pytest.mark.parametrize(
    ("peak", "device", "share"),
    [
        (100, 81920, 0.125),
        (8000, 81920, 0.1428),
        (20000, 81920, 0.3333),
        (30000, 81920, 0.5),
        (40000, 81920, 1.0),
        (90000, 81920, 1.0),
        (100, 2048, 1.0),
        (0, 16384, 0.125),
    ],
)
def test_a_share_is_the_smallest_that_holds_the_peak_with_its_margin(peak: float, device: float, share: float) -> None:
    assert share_for(peak, device) == share


@given(peak=st.floats(0, 200_000), device=st.floats(4_096, 200_000))
def test_all_that_share_a_gpu_together_take_no_more_than_it_has(peak: float, device: float) -> None:
    share = share_for(peak, device)
    count = math.floor(1 / share)
    assert 1 <= count <= MOST_SHARES
    if count > 1:
        tensors = tensor_fraction(share, device) * device
        assert tensors >= peak
        assert count * (tensors + CONTEXT_MB) <= device * (1 + 1e-9)
