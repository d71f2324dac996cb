"""Small spaces, and curves that a configuration would give, for the tests of strategies."""

import math
from typing import Any

import numpy as np

from autoft.core.configs import Budget
from autoft.core.metrics import Objective
from autoft.core.seeds import derive_seed
from autoft.space import Choice, IntUniform, LogUniform, SearchSpace, Uniform
from autoft.strategies import History, TrialView

ACCURACY = Objective(metric="accuracy", maximize=True)
LOG_LOSS = Objective(metric="log_loss", maximize=False)


def branching_space() -> SearchSpace:
    """Two backbones and two optimizers with a learning rate each, of which adamw near 1e-3 is best."""
    return SearchSpace(
        task="image-classification",
        backbone=Choice([{"name": "timm:resnet18"}, {"name": "timm:resnet34", "drop_path": Uniform(0.0, 0.2)}]),
        finetune=Choice([{"mode": "head"}, {"mode": "full", "layer_decay": Uniform(0.5, 1.0)}]),
        optimizer=Choice(
            [
                {"name": "adamw", "lr": LogUniform(1e-5, 1e-1)},
                {"name": "sgd", "lr": LogUniform(1e-4, 1.0), "momentum": Uniform(0.8, 0.99)},
            ]
        ),
        augmentation=Choice([{"name": "none"}, {"name": "randaugment", "magnitude": IntUniform(1, 10)}]),
        batch_size=Choice([16, 32, 64]),
    )


def history(
    *,
    space: SearchSpace | None = None,
    objective: Objective = ACCURACY,
    trials: int | None = 12,
    epochs: int = 9,
    seconds: float | None = None,
    slots: int = 2,
    seed: int = 0,
    **more: Any,
) -> History:
    """Return the history of a search that has not begun."""
    return History(
        space=space or branching_space(),
        objective=objective,
        budget=Budget(trials=trials, epochs=epochs, seconds=seconds),
        seed=seed,
        slots=slots,
        **more,
    )


def trial(number: int, values: list[float | None], *, until: int | None = None, **more: Any) -> TrialView:
    """Return a trial that stands at the end of `values`."""
    return TrialView(
        trial=f"t{number:04d}",
        kind="trial",
        assignment=more.pop("assignment", {}),
        until_epoch=len(values) if until is None else until,
        values=tuple(values),
        **more,
    )


def loss_of(assignment: dict[str, Any]) -> float:
    """Return a quadratic around adamw, lr 1e-3, full, resnet34, magnitude 7: 0 at best, above 0 elsewhere."""
    loss = 0.0
    if assignment.get("optimizer") == "adamw":
        loss += (math.log10(assignment["optimizer[adamw].lr"]) + 3) ** 2
    else:
        loss += 1.0 + (math.log10(assignment["optimizer[sgd].lr"]) + 1) ** 2
    loss += 0.0 if assignment.get("backbone") == "timm:resnet34" else 0.5
    loss += 4 * (assignment.get("finetune[full].layer_decay", 1.0) - 0.75) ** 2
    loss += ((assignment.get("augmentation[randaugment].magnitude", 0) - 7) / 7) ** 2
    return loss


def accuracy_curve(view: TrialView) -> list[float | None]:
    """Return a noisy rising curve whose height is the configuration's quality; large rates diverge at epoch 3."""
    if view.kind == "probe":
        return [0.5]
    rng = np.random.default_rng(derive_seed(1, *(f"{k}={v}" for k, v in sorted(view.assignment.items()))))
    height = math.exp(-0.5 * loss_of(dict(view.assignment)))
    values: list[float | None] = [
        float(height * (1 - math.exp(-epoch / 3)) + 0.01 * rng.standard_normal()) for epoch in range(1, 101)
    ]
    if view.assignment.get("optimizer[sgd].lr", 0.0) > 0.5:
        values = [*values[:2], None]
    return values
