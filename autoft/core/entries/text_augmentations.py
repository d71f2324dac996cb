"""Augmentation policies of texts."""

from autoft.core.catalog import Argument, Entry

_TEXT = ("text-classification",)


def _probability(description: str) -> Argument:
    return Argument(name="probability", type="float", default=0.1, low=0, high=0.9, description=description)


ENTRIES = (
    Entry(
        kind="augmentation",
        name="token_masking",
        target="autoft.augment.texts:token_masking",
        description="Replace tokens by the mask token.",
        source="Devlin et al., arXiv:1810.04805",
        arguments=(_probability("Probability of each token that is not special."),),
        tasks=_TEXT,
    ),
    Entry(
        kind="augmentation",
        name="token_deletion",
        target="autoft.augment.texts:token_deletion",
        description="Delete tokens; the others keep their order.",
        source="Wei & Zou, EDA, arXiv:1901.11196",
        arguments=(_probability("Probability of each token that is not special; one at least stays."),),
        tasks=_TEXT,
    ),
    Entry(
        kind="augmentation",
        name="token_swap",
        target="autoft.augment.texts:token_swap",
        description="Exchange the places of pairs of tokens.",
        source="Wei & Zou, EDA, arXiv:1901.11196",
        arguments=(_probability("Probability of each token that is not special to change its place."),),
        tasks=_TEXT,
    ),
)
