"""Learning-rate schedules, by update."""

from autoft.core.catalog import Argument, Entry

_WARMUP = Argument(
    name="warmup_fraction",
    type="float",
    default=0.0,
    low=0,
    high=0.9,
    description="Share of the updates in which the rate rises linearly to its largest.",
)
_MINIMUM = Argument(
    name="min_factor", type="float", default=0.0, low=0, high=1, description="Last rate over the largest rate."
)


def _gamma(default: float) -> Argument:
    return Argument(
        name="gamma",
        type="float",
        default=default,
        low=0,
        low_open=True,
        high=0.99,
        description="Rate after a drop over the rate before it.",
    )


def _entry(name: str, attribute: str, description: str, source: str, *arguments: Argument) -> Entry:
    return Entry(
        kind="schedule",
        name=name,
        target=f"autoft.optim.schedules:{attribute}",
        description=description,
        source=source,
        arguments=arguments,
    )


ENTRIES = (
    _entry(
        "cosine",
        "Cosine",
        "Half a cosine from the full rate down to min_factor of it.",
        "Loshchilov & Hutter, SGDR, arXiv:1608.03983",
        _WARMUP,
        _MINIMUM,
    ),
    _entry(
        "linear",
        "Linear",
        "A straight line from the full rate down to min_factor of it.",
        "Devlin et al., BERT, arXiv:1810.04805",
        _WARMUP,
        _MINIMUM,
    ),
    _entry(
        "constant",
        "Constant",
        "The full rate after the warm-up.",
        "Goyal et al., arXiv:1706.02677 (warm-up)",
        _WARMUP,
    ),
    _entry(
        "cosine_restarts",
        "CosineRestarts",
        "Half cosines one after the other, each down to min_factor of the full rate.",
        "Loshchilov & Hutter, SGDR, arXiv:1608.03983",
        _WARMUP,
        _MINIMUM,
        Argument(
            name="num_cycles", type="int", default=3, low=2, high=100, description="Half cosines, of equal length."
        ),
        Argument(
            name="cycle_decay",
            type="float",
            default=1.0,
            low=0,
            low_open=True,
            high=1,
            description="Height of each half cosine over that of the one before.",
        ),
    ),
    _entry(
        "polynomial",
        "Polynomial",
        "A power of the share of updates that is left; 1 is a straight line, less falls late, more falls early.",
        "Chen et al., DeepLab, arXiv:1606.00915",
        _WARMUP,
        _MINIMUM,
        Argument(name="power", type="float", default=0.9, low=0, low_open=True, high=10, description="That power."),
    ),
    _entry(
        "one_cycle",
        "OneCycle",
        "Half a cosine from initial_factor up to the full rate, half a cosine down to final_factor.",
        "Smith & Topin, arXiv:1708.07120; Howard & Gugger, fastai, arXiv:2002.04688 (cosines)",
        Argument(
            name="peak_fraction",
            type="float",
            default=0.25,
            low=0,
            low_open=True,
            high=0.9,
            description="Share of the updates before the full rate.",
        ),
        Argument(
            name="initial_factor",
            type="float",
            default=0.04,
            low=0,
            low_open=True,
            high=1,
            description="First rate over the largest rate.",
        ),
        Argument(
            name="final_factor",
            type="float",
            default=0.0,
            low=0,
            high=1,
            description="Last rate over the largest rate.",
        ),
    ),
    _entry(
        "step",
        "Step",
        "Sudden drops at equal distances.",
        "He et al., arXiv:1512.03385",
        _WARMUP,
        Argument(name="num_drops", type="int", default=2, low=1, high=100, description="Drops in the whole trial."),
        _gamma(0.1),
    ),
    _entry(
        "exponential",
        "Exponential",
        "The same ratio from each update to the next, down to min_factor of the full rate.",
        "Tan & Le, EfficientNet, arXiv:1905.11946",
        _WARMUP,
        Argument(
            name="min_factor",
            type="float",
            default=0.01,
            low=0,
            low_open=True,
            high=1,
            description="Last rate over the largest rate.",
        ),
    ),
    _entry(
        "wsd",
        "WarmupStableDecay",
        "Warm-up, the full rate, and a decay at the end.",
        "Hu et al., MiniCPM, arXiv:2404.06395; Hägele et al., arXiv:2405.18392",
        _WARMUP,
        _MINIMUM,
        Argument(
            name="decay_fraction",
            type="float",
            default=0.2,
            low=0,
            low_open=True,
            high=1,
            description="Share of the updates in which the rate falls, at the end; no more than the warm-up leaves.",
        ),
        Argument(
            name="shape",
            type="str",
            default="1-sqrt",
            choices=("linear", "1-sqrt"),
            description="How it falls: 1 - t or 1 - sqrt(t), t the share of the decay that is done.",
        ),
    ),
    _entry(
        "plateau",
        "Plateau",
        "A drop whenever the first metric on the validation split has not improved for some epochs.",
        "torch (ReduceLROnPlateau); He et al., arXiv:1512.03385",
        _WARMUP,
        Argument(
            name="min_factor",
            type="float",
            default=0.0,
            low=0,
            high=1,
            description="Least rate over the largest rate.",
        ),
        _gamma(0.1),
        Argument(
            name="patience", type="int", default=2, low=1, high=1000, description="Epochs without a new best before it."
        ),
    ),
)
