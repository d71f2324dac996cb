"""Averages of the weights over the updates."""

from autoft.core.catalog import Argument, Entry

ENTRIES = (
    Entry(
        kind="averaging",
        name="none",
        target="autoft.training.averaging:none",
        description="The weights as the optimizer leaves them.",
        source="autoft",
    ),
    Entry(
        kind="averaging",
        name="ema",
        target="autoft.training.averaging:ema",
        description="Exponential moving average of the weights of all updates, corrected for its start.",
        source="torch; Polyak & Juditsky 1992; Kingma & Ba, arXiv:1412.6980, 7.2",
        arguments=(
            Argument(
                name="decay",
                type="float",
                default=0.999,
                low=0,
                low_open=True,
                high=0.99999,
                description="Weight of an update over the weight of the next one.",
            ),
        ),
    ),
    Entry(
        kind="averaging",
        name="swa",
        target="autoft.training.averaging:swa",
        description="Plain mean of weights from the last part of the trial, batch norms with fresh statistics.",
        source="torch; Izmailov et al., arXiv:1803.05407",
        arguments=(
            Argument(
                name="start_fraction",
                type="float",
                default=0.75,
                low=0,
                high=0.99,
                description="Share of the updates before the first weights that count.",
            ),
            Argument(
                name="num_snapshots",
                type="int",
                default=20,
                low=2,
                high=100_000,
                description="Weights in the mean, at equal distances; no more than there are updates.",
            ),
        ),
    ),
)
