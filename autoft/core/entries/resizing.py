"""Sizes of pictures over the epochs."""

from autoft.core.catalog import Argument, Entry

ENTRIES = (
    Entry(
        kind="resizing",
        name="fixed",
        target="autoft.training.resizing:fixed",
        description="Pictures of the backbone's input size from the first epoch on.",
        source="autoft",
    ),
    Entry(
        kind="resizing",
        name="progressive",
        target="autoft.training.resizing:progressive",
        description="Small pictures first: the side grows to the backbone's input size; a trial of one epoch has that.",
        source="Tan & Le, arXiv:2104.00298",
        arguments=(
            Argument(
                name="initial_fraction",
                type="float",
                default=0.5,
                low=0.1,
                high=0.9,
                description="Side in the first epoch, of the input size; rounded to multiples of 32 pixels, or to as "
                "many whole patches as are nearest to that.",
            ),
            Argument(
                name="growth_fraction",
                type="float",
                default=0.75,
                low=0.05,
                high=1,
                description="Share of the way from the first to the last epoch after which the side is whole.",
            ),
        ),
        tasks=("image-classification",),
    ),
)
