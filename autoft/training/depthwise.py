"""The gradients of large depthwise convolutions' weights, as passes that are compiled for a processor compute them.

oneDNN has no code of its own for the weights of 5 x 5 and 7 x 7 depthwise convolutions, and what it takes for grouped
ones is slow. As sums of products, one for each place of the kernel, the compiler makes one loop of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

_KERNELS = ((5, 5), (7, 7))
"""For which this is faster: 3 x 3 has code of its own, and larger ones would be long programs."""
_TAG = "autoft.training.depthwise 1"
"""Set it anew when the gradients are computed otherwise: what torch keeps of a compilation does not know of them."""
_convolution_backward = torch.ops.aten.convolution_backward.default

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of the input, the weights and the bias; None where it is not asked for."""


class Backward(NamedTuple):
    """The arguments of aten's convolution_backward, in its order."""

    gradient: Tensor
    """Of the outputs: rows x channels x height x width, as are the inputs."""
    inputs: Tensor
    weight: Tensor
    """Of a depthwise convolution channels x 1 x height x width of the kernel."""
    bias_sizes: Sequence[int] | None
    stride: Sequence[int]
    """Of height and width, as are padding and dilation."""
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int
    wanted: Sequence[bool]
    """Which of the three gradients are asked for."""

    def is_large_depthwise(self) -> bool:
        """Return whether the weights' gradient of such a convolution is asked for, and in float32 on a processor."""
        is_depthwise = self.inputs.shape[1] == self.groups == self.weight.shape[0] and not self.transposed
        is_plain = tuple(self.dilation) == (1, 1) and tuple(self.weight.shape[2:]) in _KERNELS
        is_here = self.inputs.device.type == "cpu" and self.inputs.dtype == torch.float32
        return is_depthwise and is_plain and is_here and self.wanted[1]

    def gradients(self) -> Gradients:
        """Return the gradients of a large depthwise convolution."""
        of_inputs = of_bias = None
        if self.wanted[0]:
            # Asked for the bias, too, it would compute the weights'.
            alone = self._replace(bias_sizes=None, wanted=[True, False, False])
            of_inputs = _convolution_backward(*alone)[0]
        if self.wanted[2]:
            of_bias = self.gradient.sum((0, 2, 3))
        return of_inputs, self._of_weight(), of_bias

    def _of_weight(self) -> Tensor:
        (down, right), (high, wide) = self.stride, self.padding
        padded = nn.functional.pad(self.inputs, (wide, wide, high, high)) if high or wide else self.inputs
        height, width = ((size - 1) * step + 1 for size, step in zip(self.gradient.shape[2:], self.stride, strict=True))
        # Of each row first: a sum over all rows is one that the compiler makes more exact, and slow.
        products = [
            (padded[:, :, top : top + height : down, left : left + width : right] * self.gradient).sum((2, 3))
            for top in range(self.weight.shape[2])
            for left in range(self.weight.shape[3])
        ]
        return torch.stack(products, dim=2).sum(0).view(self.weight.shape)


def compile_graph(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """Compile a graph as torch's inductor does, with the gradients of this module; for torch.compile's `backend`."""
    # They take seconds to import, and few trials compile.
    import torch.compiler.config
    from torch._inductor.compile_fx import compile_fx
    from torch._inductor.decomposition import select_decomp_table

    table = select_decomp_table()
    usual = table[_convolution_backward]

    def gradients(*arguments: Any) -> Any:
        backward = Backward(*arguments)
        return backward.gradients() if backward.is_large_depthwise() else usual(*arguments)

    tag = f"{torch.compiler.config.cache_key_tag}{_TAG}"
    with torch.compiler.config.patch(cache_key_tag=tag):  # type: ignore[attr-defined]  # torch puts it there
        compiled = compile_fx(graph, inputs, decompositions={**table, _convolution_backward: gradients})
    return cast(Callable[..., Any], compiled)
