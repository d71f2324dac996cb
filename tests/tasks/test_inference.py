"""A pass over all rows sees every row once, in any batch size, and leaves the module as it was."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autoft.tasks.inference import forward_all
from tests.tasks.test_text_inputs import inputs


class Echo(nn.Module):
    """Says of each text what its tokens add up to and how many they are; remembers what it saw and how."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.seen.append(mask_BL)
        return torch.stack([(ids_BL * mask_BL).sum(1), mask_BL.sum(1)], dim=1).double()


def passed(module: Echo, texts: list[str], batch_size: int) -> Tensor:
    made = inputs(max_length=32)
    return forward_all(
        module,
        module,
        made,
        made.encode(texts),
        num_rows=len(texts),
        batch_size=batch_size,
        device=torch.device("cpu"),
        channels_last=False,
        autocast=nullcontext(),
    )


@given(st.lists(st.integers(0, 20), min_size=1, max_size=17), st.integers(1, 20))
def test_every_row_is_seen_once_and_comes_back_in_its_place(lengths: list[int], batch_size: int) -> None:
    texts = [" ".join(["good", *["bad"] * length]) for length in lengths]
    module = Echo()
    results = passed(module, texts, batch_size)
    assert results.tolist() == [[2 + 7 + 8 * length + 3, length + 3] for length in lengths]
    assert results.dtype == torch.float32
    assert sum(len(mask) for mask in module.seen) == len(texts)
    assert max(len(mask) for mask in module.seen) <= batch_size


def test_like_lengths_share_a_batch_so_that_little_is_padded() -> None:
    module = Echo()
    passed(module, ["good " * count for count in (20, 1, 20, 1)], 2)
    assert [tuple(mask.shape) for mask in module.seen] == [(2, 3), (2, 22)]


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_in_the_mode_that_it_was_in(training: bool) -> None:
    module = Echo().train(training)
    passed(module, ["good"], 8)
    assert module.training is training
