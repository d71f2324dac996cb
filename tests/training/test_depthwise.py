"""Gradients of depthwise convolutions, beside aten's own, in networks that compute in bfloat16 or are compiled."""

import copy
from pathlib import Path

import pytest
import timm.layers
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from autoft.training.depthwise import Backward, compile_graph, quicken
from autoft.training.execution import computes_in_bfloat16

CHANNELS = 3
Wanted = tuple[bool, bool, bool]


def of_convolution(
    kernel: tuple[int, int] = (5, 5), *, groups: int = CHANNELS, stride: int = 1, pad: int = 2
) -> Backward:
    """Return the arguments of the backward pass of a convolution of two rows of 3 x 9 x 11."""
    inputs, weight = torch.randn(2, CHANNELS, 9, 11), torch.randn(CHANNELS, CHANNELS // groups, *kernel)
    outputs = nn.functional.conv2d(inputs, weight, stride=stride, padding=pad, groups=groups)
    settings = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)
    return Backward(torch.randn_like(outputs), inputs, weight, [CHANNELS], *settings, [True, True, True])


SIZES = st.tuples(st.integers(7, 12), st.integers(7, 12))


@given(
    side=st.sampled_from([3, 5, 7]),
    size=SIZES,
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    wanted=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_those_of_aten(
    *,
    compiled: bool,
    side: int,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: Wanted,
) -> None:
    inputs = torch.randn(2, CHANNELS, *size, dtype=torch.float64)
    weight = torch.randn(CHANNELS, 1, side, side, dtype=torch.float64)
    gradient = torch.randn_like(nn.functional.conv2d(inputs, weight, None, stride, padding, groups=CHANNELS))
    settings = (stride, padding, [1, 1], False, [0, 0], CHANNELS)
    backward = Backward(gradient, inputs, weight, [CHANNELS], *settings, wanted)
    expected = torch.ops.aten.convolution_backward(*backward)
    of_large = {"rtol": 1e-5, "atol": 1e-4} if side > 3 and not compiled else {}  # computed in float32
    for mine, its, is_wanted in zip(backward.gradients(compiled=compiled), expected, wanted, strict=True):
        assert (mine is not None) is is_wanted
        if mine is not None:
            torch.testing.assert_close(mine, its, **of_large)


def test_slow_are_large_depthwise_kernels_and_those_with_strides_alone() -> None:
    large = of_convolution()
    strided = of_convolution((3, 3), pad=1, stride=2)._replace(wanted=[True, False, False])
    slow = [large, of_convolution((7, 7), pad=3), large._replace(inputs=large.inputs.bfloat16()), strided]
    assert [one.is_slow() for one in slow] == [True] * len(slow)
    others = [
        of_convolution((3, 3), pad=1),
        of_convolution((5, 7)),
        of_convolution((9, 9), pad=4),
        of_convolution(groups=1),
        large._replace(wanted=[True, False, True]),
        large._replace(dilation=[2, 2]),
        large._replace(transposed=True),
        large._replace(inputs=large.inputs.double()),
        strided._replace(wanted=[False, True, False]),
        strided._replace(dilation=[2, 2]),
        of_convolution((3, 3), pad=3, stride=2)._replace(wanted=[True, False, False]),
    ]
    assert [one.is_slow() for one in others] == [False] * len(others)


def passes(network: nn.Module, pictures: torch.Tensor, *, narrow: bool = True) -> list[torch.Tensor]:
    """Return the output and the gradients of the input and of all parameters."""
    network.zero_grad()
    given = pictures.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        found = network(given)
    found.float().square().sum().backward()
    gradients = [given.grad, *(parameter.grad for parameter in network.parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [found.detach(), *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("same", [False, True], ids=["plain", "same"])
@pytest.mark.parametrize(
    ("side", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (7, 2, 1), (3, 2, 2)]
)
def test_a_quick_network_learns_in_bfloat16_as_autocast_would(
    side: int, stride: int, dilation: int, same: bool
) -> None:
    kind = timm.layers.Conv2dSame if same else nn.Conv2d
    pad = 0 if same else side // 2
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        kind(8, 8, side, stride=stride, padding=pad, dilation=dilation, groups=8),
        nn.Conv2d(8, 4, 1),
    ).to(memory_format=torch.channels_last)
    pictures = torch.randn(2, 3, 16, 15).to(memory_format=torch.channels_last)
    exact, expected = passes(network, pictures, narrow=False), passes(network, pictures)
    names, quick = list(network.state_dict()), copy.deepcopy(network)
    quicken(quick)
    quicken(quick)
    assert list(quick.state_dict()) == names
    assert repr(quick) == repr(network)
    mine = passes(quick, pictures)
    assert torch.equal(mine[0], expected[0])
    for one, plain, right in zip(mine[1:], expected[1:], exact[1:], strict=True):
        assert one.dtype == torch.float32
        assert (one - right).norm() <= 1.5 * (plain - right).norm() + 1e-6 * right.norm()
    for one, right in zip(passes(quick, pictures, narrow=False), exact, strict=True):
        assert torch.equal(one, right)


def test_a_quick_network_is_compiled_in_one_piece_and_checkpointed_exactly() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, stride=2, groups=8))
    quicken(network)
    pictures = torch.randn(2, 3, 12, 12)
    plain = passes(network, pictures)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    for one, other in zip(passes(compiled, pictures), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.5)

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = checkpoint(self.network, given, use_reentrant=False)
            return found

    for one, other in zip(passes(Checkpointed(), pictures), plain, strict=True):
        assert torch.equal(one, other)


def test_a_copy_of_a_quick_network_computes_with_its_own_weights() -> None:
    network = nn.Conv2d(4, 4, 5, groups=4)
    quicken(network)
    copied = copy.deepcopy(network)
    pictures = torch.randn(1, 4, 6, 6)
    before = passes(copied, pictures)[0]
    with torch.no_grad():
        network.weight.zero_()
    assert torch.equal(passes(copied, pictures)[0], before)


@pytest.mark.skipif(not computes_in_bfloat16(on_gpu=False), reason="oneDNN does not compute in bfloat16 here.")
def test_the_slow_gradients_of_a_quick_network_are_not_computed_in_bfloat16(capfd: pytest.CaptureFixture[str]) -> None:
    network = nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4).to(memory_format=torch.channels_last)
    pictures = torch.randn(3, 4, 12, 12).to(memory_format=torch.channels_last)

    def said() -> list[str]:
        capfd.readouterr()
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            passes(network, pictures)
        return [line for line in capfd.readouterr().out.splitlines() if "backward" in line]

    assert len(said()) == 2
    quicken(network)
    (line,) = said()
    assert "backward_weights" in line
    assert "bf16" not in line


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
