"""Mixing of rows and of their labels."""

from autoft.core.catalog import Argument, Entry

_IMAGE, _TEXT = ("image-classification",), ("text-classification",)
_PROBABILITY = Argument(
    name="probability",
    type="float",
    default=1.0,
    low=0,
    low_open=True,
    high=1,
    description="Probability of each row to be mixed.",
)


def _alpha(default: float, *, name: str = "alpha") -> Argument:
    return Argument(
        name=name,
        type="float",
        default=default,
        low=0,
        low_open=True,
        high=100,
        description="Of Beta(alpha, alpha), which a row's own share is drawn from; small: near 0 or 1, 1: any alike.",
    )


ENTRIES = (
    Entry(
        kind="mixing",
        name="none",
        target="autoft.augment.mixing:none",
        description="Every row is trained on by itself.",
        source="autoft",
    ),
    Entry(
        kind="mixing",
        name="mixup",
        target="autoft.augment.mixing:mixup",
        description="Weighted means of two pictures and of their labels.",
        source="Zhang et al., arXiv:1710.09412",
        arguments=(_alpha(0.2), _PROBABILITY),
        tasks=_IMAGE,
    ),
    Entry(
        kind="mixing",
        name="cutmix",
        target="autoft.augment.mixing:cutmix",
        description="A box of one picture within another, labels by area.",
        source="Yun et al., arXiv:1905.04899",
        arguments=(_alpha(1.0), _PROBABILITY),
        tasks=_IMAGE,
    ),
    Entry(
        kind="mixing",
        name="mixup_cutmix",
        target="autoft.augment.mixing:mixup_cutmix",
        description="CutMix for a share of the pictures, MixUp for the others.",
        source="timm; Liu et al., arXiv:2201.03545",
        arguments=(
            _alpha(0.8, name="mixup_alpha"),
            _alpha(1.0, name="cutmix_alpha"),
            Argument(
                name="cutmix_share",
                type="float",
                default=0.5,
                low=0.01,
                high=0.99,
                description="Probability of CutMix for a mixed row; for one of the two alone take mixup or cutmix.",
            ),
            _PROBABILITY,
        ),
        tasks=_IMAGE,
    ),
    Entry(
        kind="mixing",
        name="embedding_mixup",
        target="autoft.augment.mixing:embedding_mixup",
        description="Weighted means of two texts' embeddings, token by token, and of their labels.",
        source="Guo et al., arXiv:1905.08941",
        arguments=(_alpha(0.2), _PROBABILITY),
        tasks=_TEXT,
    ),
)
