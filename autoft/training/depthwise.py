"""Gradients of depthwise convolutions on a processor, where oneDNN's own are slow.

It has no code of its own for the weights of 5 x 5 and 7 x 7 depthwise convolutions, and what it takes for grouped ones
is slow, in bfloat16 most of all; nor for the inputs of those with strides. The gradient of inputs is a convolution of
gradients with zeros between them. That of weights is, in passes that are compiled, a sum of products for each place of
the kernel, of which the compiler makes one loop; else, in bfloat16, it is computed in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

_KERNELS = ((5, 5), (7, 7))
"""Of which gradients of weights are faster this way: 3 x 3 has code of its own, and larger ones are long programs."""
_DTYPES = (torch.float32, torch.bfloat16)
_TAG = "autoft.training.depthwise 2"
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

    def is_slow(self) -> bool:
        """Return whether oneDNN is slow at what is asked for: of a depthwise convolution, on a processor."""
        is_depthwise = self.inputs.shape[1] == self.groups == self.weight.shape[0] and not self.transposed
        is_here = self.inputs.device.type == "cpu" and self.inputs.dtype in _DTYPES
        return is_depthwise and is_here and (self._spreads() or self._is_large())

    def gradients(self, *, compiled: bool) -> Gradients:
        """Return the gradients of a depthwise convolution.

        Args:
            compiled: Whether a compiler makes one loop of them.
        """
        of_inputs = of_weight = of_bias = None
        if self.wanted[0]:
            of_inputs = self._of_spread() if self._spreads() else self._alone(0)
        if self.wanted[1]:
            is_large = self._is_large()
            of_weight = self._alone(1) if not is_large else self._of_places() if compiled else self._in_float32()
        if self.wanted[2]:
            of_bias = self.gradient.sum((0, 2, 3))
        return of_inputs, of_weight, of_bias

    def _is_large(self) -> bool:
        """Return whether the gradient of a large kernel is asked for."""
        return self.wanted[1] and tuple(self.weight.shape[2:]) in _KERNELS and tuple(self.dilation) == (1, 1)

    def _spreads(self) -> bool:
        """Return whether the gradient of inputs is asked for that are further apart than the outputs."""
        is_strided = tuple(self.stride) != (1, 1) and tuple(self.dilation) == (1, 1)
        sides = zip(self.weight.shape[2:], self.padding, strict=True)
        return self.wanted[0] and is_strided and all(pad < side for side, pad in sides)

    def _alone(self, place: int) -> Tensor | None:
        """Return aten's gradient of the inputs, 0, or the weights, 1: asked for more it would compute all."""
        alone = self._replace(bias_sizes=None, wanted=[place == 0, place == 1, False])
        found: Tensor | None = _convolution_backward(*alone)[place]
        return found

    def _in_float32(self) -> Tensor | None:
        wide = self._replace(gradient=self.gradient.float(), inputs=self.inputs.float(), weight=self.weight.float())
        found = wide._alone(1)
        return None if found is None else found.to(self.weight.dtype)

    def _of_spread(self) -> Tensor:
        sides = self.weight.shape[2:]
        spread = self.gradient
        for dim, step in zip((3, 2), reversed(self.stride), strict=True):
            size = self.inputs.shape[dim] + 2 * self.padding[dim - 2] - sides[dim - 2] + 1
            shape = [size if one == dim else spread.shape[one] for one in (0, 2, 3, 1)]
            zeros = spread.new_zeros(shape).permute(0, 3, 1, 2)  # channels_last
            spread = torch.slice_scatter(zeros, spread, dim, end=(spread.shape[dim] - 1) * step + 1, step=step)
        padding = [side - 1 - pad for side, pad in zip(sides, self.padding, strict=True)]
        return nn.functional.conv2d(spread, self.weight.flip(2, 3), padding=padding, groups=self.groups)

    def _of_places(self) -> Tensor:
        (down, right), (high, wide) = self.stride, self.padding
        inputs = self.inputs if self.inputs.dtype == torch.float64 else self.inputs.float()
        padded = nn.functional.pad(inputs, (wide, wide, high, high)) if high or wide else inputs
        height, width = ((size - 1) * step + 1 for size, step in zip(self.gradient.shape[2:], self.stride, strict=True))
        # Of each row first: a sum over all rows is one that the compiler makes more exact, and slow.
        products = [
            (padded[:, :, top : top + height : down, left : left + width : right] * self.gradient).sum((2, 3))
            for top in range(self.weight.shape[2])
            for left in range(self.weight.shape[3])
        ]
        return torch.stack(products, dim=2).sum(0).view(self.weight.shape).to(self.weight.dtype)


class _Convolution(torch.autograd.Function):
    """A depthwise convolution of two dimensions with the gradients of this module, in the dtype of its inputs."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, settings: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.settings = settings
        return torch.conv2d(inputs, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        places = (stride, padding, dilation, False, [0, 0], groups)
        asked = Backward(gradients[0], inputs, weight, [weight.shape[0]], *places, ctx.needs_input_grad[:3])
        return *asked.gradients(compiled=False), None


class _InBfloat16(TorchFunctionMode):
    """Lets depthwise convolutions within it compute in bfloat16, as autocast would, by `_Convolution`."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        given = {**_DEFAULTS, **dict(zip(_ARGUMENTS, args, strict=False)), **(kwargs or {})}
        inputs, weight, bias, stride, padding, dilation, groups = (given[name] for name in _ARGUMENTS)
        is_depthwise = inputs.ndim == 4 and inputs.shape[1] == groups == weight.shape[0]
        if isinstance(padding, str) or not is_depthwise:
            return func(*args, **(kwargs or {}))
        settings = (_pair(stride), _pair(padding), _pair(dilation), groups)
        with torch.autocast("cpu", enabled=False):
            narrow = [None if one is None else one.to(torch.bfloat16) for one in (inputs, weight, bias)]
            return _Convolution.apply(*narrow, settings)


_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_DEFAULTS: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
"""Of torch.conv2d."""


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    high, wide = (value, value) if isinstance(value, int) else value
    return high, wide


class _Quick:
    """Comes before the class of a convolution."""

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        is_eager = not torch.compiler.is_compiling()
        if is_eager and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
            with _InBfloat16():
                return super().forward(*inputs, **named)  # type: ignore[misc,no-any-return]
        return super().forward(*inputs, **named)  # type: ignore[misc,no-any-return]


def quicken(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network that computes on a processor learn by the gradients of this module.

    That concerns bfloat16 alone; passes that are compiled, `compile_graph` provides for. It can be copied, not pickled.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels == part.out_channels > 1:
            kind: Any = type(part)
            if issubclass(kind, _Quick):
                continue
            if kind not in _quick_classes:
                _quick_classes[kind] = type(kind.__name__, (_Quick, kind), {"__module__": kind.__module__})
            part.__class__ = _quick_classes[kind]


_quick_classes: dict[Any, Any] = {}
"""By the class of which each is made; it has its name."""


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
        return backward.gradients(compiled=True) if backward.is_slow() else usual(*arguments)

    tag = f"{torch.compiler.config.cache_key_tag}{_TAG}"
    with torch.compiler.config.patch(cache_key_tag=tag):  # type: ignore[attr-defined]  # torch puts it there
        compiled = compile_fx(graph, inputs, decompositions={**table, _convolution_backward: gradients})
    return cast(Callable[..., Any], compiled)
