"""What a mode of fine-tuning tells the training loop."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from autoft.core.catalog import entry
from autoft.optim import ParamGroup

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Which parameters learn and at what rates, and what is to be done at which moment."""

    groups: list[ParamGroup]
    """Every parameter that learns at any time; all others are frozen: their `requires_grad` is False."""
    begin: Callable[[], None] | None = None
    """Run once, before the first epoch of a trial that is not resumed."""
    start_epoch: Callable[[int], None] | None = None
    """Called with the epoch, counted from 1, before each; what it sets is a function of the epoch alone."""
    penalise: Callable[[], None] | None = None
    """Adds to the gradients of an update before they are clipped."""
    kept_norms: Collection[nn.Module] = ()
    """Batch norms that keep their statistics, and use them in training too; those of frozen parts do so anyway."""


Mode = Callable[["Workbench"], Plan]


def plan(bench: "Workbench") -> Plan:
    """Return the plan of the mode that the recipe names, and freeze what it does not let learn.

    Raises:
        ConfigError: If the mode does not fit the backbone or the head.
    """
    mode: Mode = entry("finetune", bench.config.recipe["finetune"]["mode"], where="finetune.mode").load()
    return mode(bench)
