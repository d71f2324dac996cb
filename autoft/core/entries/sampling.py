"""Which rows an epoch is made of."""

from autoft.core.catalog import Argument, Entry

ENTRIES = (
    Entry(
        kind="sampling",
        name="shuffle",
        target="autoft.training.sampling:shuffle",
        description="Every row once an epoch.",
        source="autoft",
    ),
    Entry(
        kind="sampling",
        name="balanced",
        target="autoft.training.sampling:balanced",
        description="Rare classes more often, frequent ones less; as many rows an epoch as there are.",
        source="Kang et al., arXiv:1910.09217",
        arguments=(
            Argument(
                name="power",
                type="float",
                default=1.0,
                low=0,
                low_open=True,
                high=1,
                description="Classes come in proportion to rows^(1 - power); 1: all alike, 0.5: by the square root.",
            ),
        ),
    ),
)
