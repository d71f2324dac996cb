"""What is added to the loss."""

from autoft.core.catalog import Argument, Entry

ENTRIES = (
    Entry(
        kind="regularization",
        name="none",
        target="autoft.training.regularization:none",
        description="The loss alone.",
        source="autoft",
    ),
    Entry(
        kind="regularization",
        name="r_drop",
        target="autoft.training.regularization:r_drop",
        description="Two passes with dropout of their own must predict alike; every update costs two.",
        source="Liang et al., arXiv:2106.14448",
        arguments=(
            Argument(
                name="alpha",
                type="float",
                default=1.0,
                low=0,
                low_open=True,
                high=100,
                description="Weight of the divergence between both predictions.",
            ),
        ),
    ),
    Entry(
        kind="regularization",
        name="fgm",
        target="autoft.training.regularization:fgm",
        description="Also the loss after a small move of the embeddings, the worst; every update costs two.",
        source="Miyato et al., arXiv:1605.07725",
        arguments=(
            Argument(
                name="epsilon",
                type="float",
                default=1.0,
                low=0,
                low_open=True,
                high=100,
                description="Length of the move, over all tokens of a text, in the units of its embeddings.",
            ),
        ),
        tasks=("text-classification",),
    ),
)
