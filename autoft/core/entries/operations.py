"""Single operations on pictures, of which a learned policy is made.

The target of each is an `autoft.augment.operations.Operation`.
"""

from collections.abc import Iterable

from autoft.core.catalog import Argument, Entry

_AUTOAUGMENT = "Cubuk et al., arXiv:1805.09501, table 6"

PROBABILITY = Argument(
    name="probability", type="float", default=0.5, low=0, high=1, description="Share of the pictures that have it."
)
MAGNITUDE = Argument(
    name="magnitude",
    type="float",
    default=0.3,
    low=0,
    high=1,
    description="Strength: 0 leaves a picture as it is, 1 is the most that there is.",
)


def _operation(
    name: str, description: str, source: str = _AUTOAUGMENT, *, arguments: Iterable[Argument] = (PROBABILITY, MAGNITUDE)
) -> Entry:
    return Entry(
        kind="operation",
        name=name,
        target=f"autoft.augment.learned:{name.upper()}",
        description=description,
        source=source,
        arguments=tuple(arguments),
        tasks=("image-classification",),
    )


ENTRIES = (
    _operation("identity", "Leave the picture as it is.", arguments=()),
    _operation("rotate", "Turn it, by up to 30 degrees to either side."),
    _operation("shear_x", "Shear it along the rows, by a slope of up to 0.3 to either side."),
    _operation("shear_y", "Shear it along the columns, by a slope of up to 0.3 to either side."),
    _operation("translate_x", "Shift it along the rows, by up to 45 % of the side to either side."),
    _operation("translate_y", "Shift it along the columns, by up to 45 % of the side to either side."),
    _operation("brightness", "Make it brighter or darker, by a factor of up to 1 + 0.9 or 1 - 0.9."),
    _operation("colour", "Make its colours stronger or weaker, by a factor of up to 1 + 0.9 or 1 - 0.9."),
    _operation("contrast", "Make its contrast stronger or weaker, by a factor of up to 1 + 0.9 or 1 - 0.9."),
    _operation("sharpness", "Make it sharper or softer, by a factor of up to 1 + 0.9 or 1 - 0.9."),
    _operation("hue", "Turn its hues, by up to half of the colour circle to either side.", "torchvision, ColorJitter"),
    _operation("posterize", "Keep fewer bits of each channel, down to 4."),
    _operation("solarize", "Turn what is bright to the negative, at most all of it."),
    _operation("autocontrast", "Stretch each channel over the whole range.", arguments=(PROBABILITY,)),
    _operation("equalize", "Give each channel an even histogram.", arguments=(PROBABILITY,)),
    _operation("invert", "Turn it to the negative.", arguments=(PROBABILITY,)),
    _operation("grayscale", "Take its colours away.", "Chen et al., arXiv:2002.05709", arguments=(PROBABILITY,)),
    _operation("blur", "Blur it by a Gaussian of up to 2 pixels.", "Chen et al., arXiv:2002.05709"),
    _operation("noise", "Add normal noise, of up to 0.2 of the range.", "torchvision, GaussianNoise"),
    _operation("cutout", "Put a grey square on it, of up to half its side.", "DeVries & Taylor, arXiv:1708.04552"),
)
