"""Heads on the features of a backbone."""

from autoft.core.catalog import Argument, Entry

DROPOUT = Argument(
    name="dropout", type="float", default=0.0, low=0, high=0.95, description="Dropout before the last linear layer."
)
LR_MULTIPLIER = Argument(
    name="lr_multiplier",
    type="float",
    default=1.0,
    low=0,
    low_open=True,
    high=1000,
    description="Factor on the learning rate of the head.",
)

ENTRIES = (
    Entry(
        kind="head",
        name="linear",
        target="autoft.tasks.network:linear_head",
        description="One linear layer.",
        source="Kornblith et al., arXiv:1805.08974",
        arguments=(DROPOUT, LR_MULTIPLIER),
    ),
    Entry(
        kind="head",
        name="mlp",
        target="autoft.tasks.network:mlp_head",
        description="One hidden layer with GELU, then a linear layer.",
        source="Chen et al., SimCLRv2, arXiv:2006.10029 (a hidden layer in fine-tuning); GELU: arXiv:1606.08415",
        arguments=(
            Argument(
                name="hidden_features",
                type="int",
                default=512,
                low=1,
                high=16384,
                description="Width of the hidden layer.",
            ),
            DROPOUT,
            LR_MULTIPLIER,
        ),
    ),
)
