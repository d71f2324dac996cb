"""Where a network can be cut: behind its last frozen part before anything that learns.

Found by structure, in any encoder: what is replaced while a network runs cut are whole modules, each of which runs
once, gets states first and gives states. Masks, positions and all else that goes along is computed by the network.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The frozen modules of a network that need not run where it is known what the last of them gives."""

    behind: str
    """Path of that last one in the network."""
    widths: Mapping[str, int]
    """Paths of all of them, and what each gives: 0 a tensor, n a tuple of n with the tensor first and None beside."""


@dataclass(slots=True)
class _Call:
    """What a module did in a pass."""

    began: int
    """The number of calls before it."""
    ended: int = 0
    count: int = 1
    width: int | None = None
    """Of `Cut.widths`; None where it neither got nor gave states."""
    learns: bool = False
    """Whether what it gave depends on anything that learns."""


class _ReachedError(Exception):
    """That a pass has come to the states that are wanted, and need not go on."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def cuts(network: nn.Module, run: Callable[[], object], learning: Collection[int]) -> list[Cut]:
    """Return cuts to be tried, the one that leaves out most first; none where nothing frozen runs before what learns.

    Args:
        network: In the mode in which it trains.
        run: Runs it, with gradients.
        learning: `id` of every parameter that learns at any time.
    """
    calls = _calls(network, run)
    parts = dict(network.named_modules())
    learned = [calls[path].began for path in calls if _owns(parts[path], learning)]
    first = min(learned, default=0)
    found = sorted(
        (path for path in _outermost("", network, calls, learning) if calls[path].ended <= first),
        key=lambda path: calls[path].ended,
    )
    if not found:
        return []
    behind = found[-1]
    owner = behind.rpartition(".")[0]
    siblings = [path for path in found if path.rpartition(".")[0] == owner]
    return [
        Cut(behind=behind, widths={path: calls[path].width or 0 for path in paths})
        for paths in ([found, siblings] if siblings != found else [found])
    ]


@contextmanager
def skipped(network: nn.Module, cut: Cut, states: Tensor) -> Iterator[None]:
    """Let `network` take `states` for what its frozen modules come to, and not run them; after it, it is as before.

    Args:
        network: In which the cut was found, or a copy.
        cut: Where.
        states: What the last of the modules would give.
    """
    parts: list[Any] = [network.get_submodule(path) for path in cut.widths]
    try:
        for part, (path, width) in zip(parts, cut.widths.items(), strict=True):
            part.forward = _giving(states if path == cut.behind else None, width)
        yield
    finally:
        for part in parts:
            vars(part).pop("forward", None)


def states_behind(network: nn.Module, path: str, run: Callable[[], object]) -> Tensor:
    """Return what the module at `path` gives when `run` runs the network, which goes no further.

    Raises:
        RuntimeError: If it gives no states.
    """

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        raise _ReachedError(states)

    handle = network.get_submodule(path).register_forward_hook(stop)
    try:
        run()
    except _ReachedError as reached:
        return reached.states
    finally:
        handle.remove()
    raise RuntimeError(f"The network ran without its module {path}.")


def _giving(states: Tensor | None, width: int) -> Callable[..., Any]:
    """Return what gives `states`, or what it gets if there are none."""

    def forward(given: Tensor, *_args: Any, **_named: Any) -> Any:
        tensor = given if states is None else states
        return (tensor, *[None] * (width - 1)) if width else tensor

    return forward


def _calls(network: nn.Module, run: Callable[[], object]) -> dict[str, _Call]:
    """Return what each module did, by path."""
    calls: dict[str, _Call] = {}
    clock = 0

    def watch(path: str, part: nn.Module) -> list[Any]:
        def begin(_part: nn.Module, _inputs: Any) -> None:
            nonlocal clock
            if path in calls:
                calls[path].count += 1
            else:
                calls[path] = _Call(began=clock)
            clock += 1

        def end(_part: nn.Module, inputs: Any, output: Any) -> None:
            call = calls[path]
            call.ended, call.width = clock, _width(inputs, output)
            call.learns = any(tensor.requires_grad for tensor in _tensors(output))

        return [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]

    handles = [handle for path, part in network.named_modules() for handle in watch(path, part)]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(output: Any) -> list[Tensor]:
    parts = output if isinstance(output, tuple) else (output,)
    return [part for part in parts if isinstance(part, Tensor)]


def _width(inputs: tuple[Any, ...], output: Any) -> int | None:
    """Return of which form states are that a module gave for states; None where either are none."""
    first, *others = output if isinstance(output, tuple) and output else (output,)
    are_states = [isinstance(part, Tensor) and part.is_floating_point() for part in (*inputs[:1], first)]
    if are_states != [True, True] or any(other is not None for other in others):
        return None
    return len(output) if isinstance(output, tuple) else 0


def _outermost(path: str, part: nn.Module, calls: Mapping[str, _Call], learning: Collection[int]) -> Iterator[str]:
    """Yield the paths of the frozen modules that can be left out, but for those within others."""
    call = calls.get(path)
    is_frozen = path and call is not None and not any(id(parameter) in learning for parameter in part.parameters())
    is_alone = call is not None and call.count == 1 and call.width is not None and not call.learns
    if is_frozen and is_alone and next(part.parameters(), None) is not None and "forward" not in vars(part):
        yield path
        return
    for name, child in part.named_children():
        yield from _outermost(f"{path}.{name}" if path else name, child, calls, learning)


def _owns(part: nn.Module, learning: Collection[int]) -> bool:
    """Return whether a module itself, not one within it, holds anything that learns."""
    return any(id(parameter) in learning for parameter in part.parameters(recurse=False))
