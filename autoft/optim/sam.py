"""Sharpness-aware minimisation around any optimizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from autoft.optim.groups import gradient_of

ETA = 0.01
"""Added to the size of a weight by `adaptive`, so that weights at zero are climbed along too (Kwon et al., 5)."""
TINY = 1e-12


class SAM(Optimizer):
    """An optimizer that steps by the gradient at the worst point nearby.

    An update computes gradients, computes them anew within `perturbed()`, and steps:

        loss().backward()
        with optimizer.perturbed():
            loss().backward()
        optimizer.step()

    Parameter groups and state are those of `base`.

    Args:
        base: The optimizer that steps.
        rho: How far the climb goes, in the (scaled) length of all weights together.
        adaptive: Whether a weight is climbed along in proportion to its size (ASAM); else all alike.

    Reference: Foret et al., arXiv:2010.01412, equation 2; Kwon et al., arXiv:2102.11600, equation 5.
    """

    def __init__(self, base: Optimizer, *, rho: float, adaptive: bool) -> None:
        super().__init__(base.param_groups, base.defaults)
        self.base = base
        self.rho = rho
        self.adaptive = adaptive
        self._share()

    @contextmanager
    def perturbed(self) -> Iterator[None]:
        """Climb by the gradients that are there, and set them to None; take the climb back, to the bit, at the end."""
        climbed = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [parameter.detach().clone() for parameter in climbed]
        self._climb(climbed)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(climbed, before, strict=True):
                    parameter.copy_(value)

    @torch.no_grad()
    def _climb(self, parameters: list[Tensor]) -> None:
        """Add rho * T^2 g / |T g|, where T is 1, or with `adaptive` the size of each weight, and forget g."""
        scaled = [self._scale(parameter) * gradient_of(parameter) for parameter in parameters]
        if scaled:
            step = self.rho / (torch.nn.utils.get_total_norm(scaled) + TINY)
            for parameter, gradient in zip(parameters, scaled, strict=True):
                parameter.add_(self._scale(parameter) * gradient * step.to(gradient.device))
                parameter.grad = None

    def _scale(self, parameter: Tensor) -> Tensor:
        # As in the authors' code, biases are not scaled; norms' weights, also of one dimension, are near 1 anyway.
        return parameter.abs() + ETA if self.adaptive and parameter.ndim > 1 else torch.ones_like(parameter)

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step as the base does, by the gradients that are there."""
        self.base.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base: SAM has none of its own."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the base a state."""
        self.base.load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state
