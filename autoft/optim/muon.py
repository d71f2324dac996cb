"""Muon: momentum whose matrices are made orthogonal, and AdamW for all that is no hidden matrix.

torch and timm have a Muon too. torch's takes matrices alone, no convolutions and no fallback; both orthogonalise in
bfloat16 on every device, which takes a CPU without such instructions 40 times as long as float32 (timm 1.0.31, torch
2.15: 25 s for one matrix of 768 x 3072).
"""

import re
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json
from autoft.optim.groups import gradient_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz polynomial a x + b x^3 + c x^5, steepest at zero (Jordan et al.)."""
RMS_OF_ADAMW = 0.2
"""Root mean square of AdamW's steps, to which Muon's are matched (Liu et al., 2.2)."""
EPS = 1e-7
_EMBEDDINGS = re.compile(r"embed|rel_pos|relative_|bias_table")


class Muon(Optimizer):
    """Muon on the groups whose `matrices` is true, AdamW on the others.

    Args:
        groups: torch's parameter groups with `lr`, `weight_decay` and `matrices`.
        momentum: Share of the last momentum that is kept.
        nesterov: Whether the gradient looks one step of momentum ahead.
        ns_steps: Newton-Schulz iterations.
        betas: Of AdamW.
        eps: Of AdamW.
        fused: Whether torch has a fused AdamW for these parameters.

    Reference: Jordan et al., kellerjordan.github.io/posts/muon; Liu et al., arXiv:2502.16982 (decay, rate by shape).
    """

    def __init__(
        self,
        groups: list[Json],
        *,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        betas: tuple[float, float],
        eps: float,
        fused: bool,
    ) -> None:
        settings = {"momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps}
        super().__init__(groups, {**settings, "betas": betas, "eps": eps, "fused": fused})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Do one update from the gradients that are there."""
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["matrices"]:
                for parameter in learning:
                    self._orthogonal_step(parameter, group)
            elif learning:
                self._adamw_step(learning, group)

    def _orthogonal_step(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient, state = gradient_of(parameter), self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        direction = gradient.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        step = orthogonalised(direction.flatten(1), group["ns_steps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        scale = RMS_OF_ADAMW * max(step.shape) ** 0.5
        parameter.add_(step.reshape(parameter.shape).to(parameter.dtype), alpha=-group["lr"] * scale)

    def _adamw_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device if group["fused"] else None),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [gradient_of(parameter) for parameter in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=group["fused"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalised(matrix: Tensor, num_steps: int) -> Tensor:
    """Return nearly U V^T of the singular value decomposition U S V^T of a matrix (M, N), by Newton-Schulz.

    After 5 iterations the singular values lie in about [0.7, 1.2].
    """
    a, b, c = COEFFICIENTS
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    is_tall = x.size(0) > x.size(1)
    x = x.T if is_tall else x
    x = x / x.norm().clamp(min=EPS)
    for _ in range(num_steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether Muon is for a parameter: a matrix or convolution between the network's first and last layer.

    Not of the head and the embeddings, which AdamW serves better (Jordan et al.); not a convolution of the 3 colours,
    which is the first layer; not a kernel of one input channel (depthwise): its filters do not act together.

    Args:
        name: In the network; "head." begins the names of the head.
        parameter: A convolution counts as the matrix (out, in * height * width).
    """
    shape = parameter.shape
    is_matrix = len(shape) >= 2 and min(shape[0], shape[1]) > 1
    is_first_layer = len(shape) == 4 and shape[1] == 3
    return is_matrix and not is_first_layer and not name.startswith("head.") and _EMBEDDINGS.search(name) is None


def split_groups(groups: list[Json], *, adamw_lr_ratio: float) -> list[Json]:
    """Return the groups, each split in `matrices` and all else, which learns at `adamw_lr_ratio` of the rate.

    Raises:
        ConfigError: If there is no hidden matrix: all settings of Muon would be without effect.
    """
    split: list[Json] = []
    for group in groups:
        names = group["names"] or [""] * len(group["params"])
        pairs = list(zip(names, group["params"], strict=True))
        for matrices in (True, False):
            part = [pair for pair in pairs if is_hidden_matrix(*pair) is matrices]
            ratio = 1.0 if matrices else adamw_lr_ratio
            name = f"{group['name']}.{'muon' if matrices else 'adamw'}"
            changes = {"name": name, "matrices": matrices, "lr_scale": group["lr_scale"] * ratio}
            rate = group["lr"] * ratio
            if part:
                names, parameters = map(list, zip(*part, strict=True))
                split.append({**group, **changes, "lr": rate, "names": names, "params": parameters})
    if not any(group["matrices"] for group in split):
        raise ConfigError(
            "optimizer.name is muon, which is for the matrices within the backbone, but none of them learns. Take a "
            "finetune.mode that trains them, or another optimizer."
        )
    return split
