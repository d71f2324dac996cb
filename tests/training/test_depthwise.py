"""Gradients of large depthwise convolutions, beside aten's own, and in a compiled network."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoft.training.depthwise import Backward, compile_graph

CHANNELS = 3


def of_convolution(
    kernel: tuple[int, int] = (5, 5), *, groups: int = CHANNELS, stride: int = 1, pad: int = 2
) -> Backward:
    """Return the arguments of the backward pass of a convolution of two rows of 3 x 9 x 11."""
    inputs, weight = torch.randn(2, CHANNELS, 9, 11), torch.randn(CHANNELS, CHANNELS // groups, *kernel)
    outputs = nn.functional.conv2d(inputs, weight, stride=stride, padding=pad, groups=groups)
    settings = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)
    return Backward(torch.randn_like(outputs), inputs, weight, [CHANNELS], *settings, [True, True, True])


@given(
    side=st.sampled_from([5, 7]),
    size=st.tuples(st.integers(7, 12), st.integers(7, 12)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    wanted=st.tuples(st.booleans(), st.just(True), st.booleans()),
)
def test_gradients_are_those_of_aten(
    side: int, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], wanted: tuple[bool, bool, bool]
) -> None:
    inputs = torch.randn(2, CHANNELS, *size, dtype=torch.float64)
    weight = torch.randn(CHANNELS, 1, side, side, dtype=torch.float64)
    gradient = torch.randn_like(nn.functional.conv2d(inputs, weight, None, stride, padding, groups=CHANNELS))
    settings = (stride, padding, [1, 1], False, [0, 0], CHANNELS)
    backward = Backward(gradient, inputs, weight, [CHANNELS], *settings, wanted)
    expected = torch.ops.aten.convolution_backward(*backward)
    for mine, its, is_wanted in zip(backward.gradients(), expected, wanted, strict=True):
        assert (mine is not None) is is_wanted
        if mine is not None:
            torch.testing.assert_close(mine, its)


def test_those_of_weights_are_computed_for_large_depthwise_kernels_alone() -> None:
    large = of_convolution()
    assert large.is_large_depthwise()
    assert of_convolution((7, 7), pad=3).is_large_depthwise()
    others = [
        of_convolution((3, 3), pad=1),
        of_convolution((5, 7)),
        of_convolution((9, 9), pad=4),
        of_convolution(groups=1),
        large._replace(wanted=[True, False, True]),
        large._replace(dilation=[2, 2]),
        large._replace(transposed=True),
        large._replace(inputs=large.inputs.bfloat16()),
    ]
    assert [one.is_large_depthwise() for one in others] == [False] * len(others)


@pytest.mark.slow
def test_a_compiled_network_has_no_convolution_for_them_whatever_was_compiled_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network = nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4).to(memory_format=torch.channels_last)
    pictures = torch.randn(3, 4, 12, 12).to(memory_format=torch.channels_last)

    def gradients(forward: nn.Module) -> tuple[list[torch.Tensor], str]:
        network.zero_grad()
        torch.compiler.reset()
        forward(pictures).square().sum().backward()
        capfd.readouterr()
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            forward(pictures).square().sum().backward()
        found = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        return [gradient.clone() for gradient in found], capfd.readouterr().out

    expected, said = gradients(network)
    assert "backward_weights" in said
    assert "backward_weights" in gradients(torch.compile(network))[1]
    mine, said = gradients(torch.compile(network, backend=compile_graph))
    assert "backward_weights" not in said
    assert "forward_training" in said
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, other)
