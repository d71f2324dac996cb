"""Augmentation policies of pictures, and `none`, which is for every input."""

from autoft.core.catalog import Argument, Entry

_IMAGE = ("image-classification",)


def _number(
    name: str, default: float, high: float, description: str, *, low: float = 0, low_open: bool = False
) -> Argument:
    return Argument(
        name=name, type="float", default=default, low=low, high=high, low_open=low_open, description=description
    )


def _count(name: str, default: int, low: int, high: int, description: str) -> Argument:
    return Argument(name=name, type="int", default=default, low=low, high=high, description=description)


def _common(min_scale: float) -> tuple[Argument, ...]:
    """Return the settings that every policy for pictures has, but `none`."""
    return (
        _number(
            "min_scale",
            min_scale,
            1,
            "Smallest share of the picture's area that a random crop keeps; 1: no crop.",
            low=0.01,
        ),
        Argument(
            name="flip",
            type="bool",
            default=True,
            description="Whether pictures are mirrored left to right half of the time.",
        ),
        Argument(
            name="vertical_flip",
            type="bool",
            default=False,
            description="Whether pictures are mirrored top to bottom half of the time.",
        ),
        _number("erasing", 0.0, 1, "Probability of a rectangle of noise on a picture, after all else (Zhong et al.)."),
    )


def _image(
    name: str, target: str, description: str, source: str, *arguments: Argument, min_scale: float = 1.0
) -> Entry:
    return Entry(
        kind="augmentation",
        name=name,
        target=f"autoft.augment.{target}",
        description=description,
        source=source,
        arguments=(*arguments, *_common(min_scale)),
        tasks=_IMAGE,
    )


def _operation(name: str, default: str) -> Argument:
    return Argument(
        name=name,
        type="block",
        kind="operation",
        default={"name": default},
        description="Operation of this place in the row; identity: none.",
    )


ENTRIES = (
    Entry(
        kind="augmentation",
        name="none",
        target="autoft.augment.policy:none",
        description="Leave the input as it is.",
        source="autoft",
    ),
    _image(
        "flip",
        "images:crop_and_flip",
        "Mirror a picture left to right, half of the time.",
        "Krizhevsky et al., NeurIPS 2012",
    ),
    _image(
        "crop_flip",
        "images:crop_and_flip",
        "Random resized crop and mirroring.",
        "Szegedy et al., arXiv:1409.4842",
        min_scale=0.35,
    ),
    _image(
        "jitter",
        "jitter:jitter",
        "Rotation, colour jitter, grayscale, blur and noise, each of a strength of its own.",
        "Chen et al., SimCLR, arXiv:2002.05709",
        _number("rotation", 10.0, 180, "Largest angle in degrees, to either side."),
        _number("brightness", 0.3, 1, "Largest change of brightness; 0.3: factors from 0.7 to 1.3."),
        _number("contrast", 0.3, 1, "Largest change of contrast."),
        _number("saturation", 0.3, 1, "Largest change of saturation."),
        _number("hue", 0.0, 0.5, "Largest turn of the hue to either side, as a share of the colour circle."),
        _number("grayscale", 0.0, 1, "Probability of a picture without colour."),
        _number("blur", 0.0, 1, "Probability of a Gaussian blur of 0.1 to 2 pixels."),
        _number("noise", 0.0, 0.5, "Largest deviation of normal noise, as a share of the range."),
    ),
    _image(
        "randaugment",
        "images:randaugment",
        "Operations drawn evenly from 14, all of one magnitude.",
        "Cubuk et al., arXiv:1909.13719",
        _count("magnitude", 5, 0, 10, "Strength of each operation, of 10."),
        _count("num_ops", 2, 1, 14, "Operations in a row."),
    ),
    _image(
        "trivialaugment",
        "images:trivialaugment",
        "One operation of 14 at a magnitude drawn evenly; nothing to tune.",
        "Mueller & Hutter, arXiv:2103.10158",
    ),
    _image(
        "autoaugment",
        "autoaugment:autoaugment",
        "Two operations in a row, of a sub-policy drawn from 25 that were found on a data set.",
        "Cubuk et al., arXiv:1805.09501",
        Argument(
            name="policy",
            type="str",
            default="imagenet",
            choices=("imagenet", "cifar10", "svhn"),
            description="Data set that the sub-policies were found on.",
        ),
    ),
    _image(
        "augmix",
        "augmix:augmix",
        "Chains of operations, mixed with one another and with the picture.",
        "Hendrycks et al., arXiv:1912.02781",
        _count("width", 3, 1, 10, "Chains that are mixed."),
        Argument(
            name="depth",
            type="int",
            default=None,
            low=1,
            high=10,
            optional=True,
            description="Operations in a chain; null: drawn from 1 to 3.",
        ),
        _number("severity", 3.0, 10, "Largest strength of an operation, of 10.", low=0.1),
        _number("alpha", 1.0, 100, "Of the Dirichlet and Beta distributions of the weights.", low_open=True),
    ),
    _image(
        "three_augment",
        "jitter:three_augment",
        "Grayscale, solarization or blur, drawn evenly; then colour jitter.",
        "Touvron et al., DeiT III, arXiv:2204.07118",
        _number("jitter", 0.3, 1, "Largest change of brightness, contrast and saturation."),
        _count("padding", 4, 0, 64, "Mirrored pixels around a picture of which a random part is cut out; 0: no cut."),
    ),
    _image(
        "learned",
        "learned:learned",
        "Up to four operations in a row, each with a kind, probability and magnitude to search over.",
        "Cubuk et al., arXiv:1805.09501, section 3",
        _operation("op1", "rotate"),
        _operation("op2", "identity"),
        _operation("op3", "identity"),
        _operation("op4", "identity"),
    ),
)
