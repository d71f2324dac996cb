"""Linear probing, then fine-tuning."""

from functools import partial
from typing import TYPE_CHECKING

from autoft.backbones.layers import batch_norms
from autoft.core.errors import ConfigError
from autoft.training.finetune.learning import head_groups, l2_sp, layer_groups, pretrained
from autoft.training.finetune.plans import Plan
from autoft.training.probed import take_solution

if TYPE_CHECKING:
    from autoft.training.workbench import Workbench


def lp_ft(bench: "Workbench") -> Plan:
    """Let all weights learn, the head from the frozen probe's solution.

    Batch norms keep the statistics that the probe was solved on: those of a batch give other features, to which its
    solution means nothing.

    Raises:
        ConfigError: If the head is not linear.

    Reference: Kumar et al., Fine-Tuning can Distort Pretrained Features, arXiv:2202.10054.
    """
    recipe = bench.config.recipe
    settings, head = recipe["finetune"], recipe["head"]["name"]
    if head != "linear":
        raise ConfigError(f"finetune.mode lp_ft starts from the linear probe: head.name must be linear, not {head}.")

    return Plan(
        groups=head_groups(bench) + layer_groups(bench, layer_decay=settings["layer_decay"]),
        begin=partial(take_solution, bench),
        penalise=l2_sp(settings["l2_sp"], pretrained(bench)),
        kept_norms=list(batch_norms(bench.network).values()),
    )
