"""Losses of the classification tasks."""

from autoft.core.catalog import Argument, Entry

_SMOOTHING = Argument(
    name="label_smoothing",
    type="float",
    default=0.0,
    low=0,
    high=0.9,
    description="Probability spread evenly over all classes.",
)
_CLASS_WEIGHTS = Argument(
    name="class_weights",
    type="str",
    default="none",
    choices=("none", "balanced"),
    description="balanced: each class weighs as if all had as many rows.",
)

ENTRIES = (
    Entry(
        kind="loss",
        name="cross_entropy",
        target="autoft.tasks.losses:cross_entropy",
        description="Negative log-likelihood of the label, with smoothing and class weights if asked for.",
        source="Szegedy et al., arXiv:1512.00567 (label smoothing)",
        arguments=(_SMOOTHING, _CLASS_WEIGHTS),
    ),
    Entry(
        kind="loss",
        name="focal",
        target="autoft.tasks.losses:focal",
        description="Cross-entropy in which rows that are learned count little.",
        source="Lin et al., arXiv:1708.02002",
        arguments=(
            Argument(
                name="gamma",
                type="float",
                default=2.0,
                low=0,
                high=10,
                description="Exponent of (1 - p); 0: the cross-entropy.",
            ),
            _SMOOTHING,
            _CLASS_WEIGHTS,
        ),
    ),
    Entry(
        kind="loss",
        name="class_balanced",
        target="autoft.tasks.losses:class_balanced",
        description="Cross-entropy weighted by the inverse of each class's effective number of rows.",
        source="Cui et al., arXiv:1901.05555",
        arguments=(
            Argument(
                name="beta",
                type="float",
                default=0.999,
                low=0,
                high=0.99999,
                description="0: all classes weigh alike; near 1: by the inverse of their rows.",
            ),
            _SMOOTHING,
        ),
    ),
    Entry(
        kind="loss",
        name="logit_adjusted",
        target="autoft.tasks.losses:logit_adjusted",
        description="Cross-entropy of logits that are moved by the classes' shares of the rows; predictions are not.",
        source="Menon et al., arXiv:2007.07314",
        arguments=(
            Argument(
                name="tau",
                type="float",
                default=1.0,
                low=0,
                high=5,
                description="Weight of the logarithm of a class's share; 0: the cross-entropy.",
            ),
            _SMOOTHING,
        ),
    ),
)
