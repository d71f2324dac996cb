"""A sheet on which a person sees what the augmentations of a space do to a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from autoft.core import recipe
from autoft.core.jsonable import Json
from autoft.space.domains import Choice
from autoft.space.normals import Normal
from autoft.space.tree import Block, Branch, Searched

if TYPE_CHECKING:
    from autoft.space import SearchSpace

SIDE = 144
"""Of each picture, in pixels."""
COLUMNS = 8
"""Draws of each row, beside the picture as it is."""
_GAP = 6
_LABEL_WIDTH = 220
_PAPER, _INK, _FAINT = (255, 255, 255), (25, 25, 25), (110, 110, 110)
_QUANTILES = (0.01, 0.99)
"""Stand for the ends, which a normal distribution has not."""
_FONT, _SMALL = ImageFont.load_default(17), ImageFont.load_default(13)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One augmentation with all of its settings."""

    label: str
    note: str
    """What is not at its default; empty: nothing."""
    config: Json


def rows_of(space: "SearchSpace") -> list[Row]:
    """Return what a space can take: each policy at its defaults, then with each searched setting at its ends.

    Of a searched setting without ends, and of an operation of a policy, every other choice has a row.
    """
    block = next((one for one in space.sections if one.name == "augmentation"), None)
    if not isinstance(block, Block):
        config = space.recipe(space.default()).get("augmentation")
        return [] if config is None else [Row(label=config["name"], note="", config=config)]
    rows = []
    for branch in block.branches:
        for note, given in [("", _default(branch)), *_varied(branch)]:
            config = recipe.filled(recipe.BLOCKS["augmentation"], given, None)
            rows.append(Row(label=branch.label, note=note, config=config))
    return rows


def _default(branch: Branch) -> Json:
    values: Json = {"name": branch.name}
    for name, value in branch.settings.items():
        values[name] = value.domain.default if isinstance(value, Searched) else value
        if isinstance(value, Block):
            values[name] = _default(_usual(value))
    return values


def _usual(block: Block) -> Branch:
    if block.choice is None:
        return block.branches[0]
    return next(branch for branch in block.branches if branch.label == block.choice.domain.default)


def _varied(branch: Branch) -> Iterator[tuple[str, Json]]:
    """Yield what is changed and the map of the branch, once for each change of one thing."""
    usual = _default(branch)
    for name, value in branch.settings.items():
        if isinstance(value, Searched):
            for other in _ends(value):
                yield f"{name} {_shown(other)}", usual | {name: other}
        elif isinstance(value, Block):
            first = _usual(value)
            yield from ((f"{name}: {note}", usual | {name: given}) for note, given in _varied(first))
            for other_branch in value.branches:
                if other_branch is not first:
                    yield f"{name}: {other_branch.label}", usual | {name: _default(other_branch)}


def _ends(searched: Searched) -> list[Any]:
    domain = searched.domain
    if isinstance(domain, Choice):
        every = list(domain.values)
    else:
        every = [domain.at(place) for place in (_QUANTILES if isinstance(domain, Normal) else (0.0, 1.0))]
    return [value for value in every if value != domain.default]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def draw_sheet(rows: Sequence[Row], picture: Image.Image, *, seed: int) -> Image.Image:
    """Return the sheet: a row for each of `rows`, with the picture as it is and `COLUMNS` draws."""
    import numpy as np
    import torch

    from autoft.augment.policy import build_augmentation

    square = _cut(picture)
    image_3SS = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    width = _LABEL_WIDTH + (COLUMNS + 1) * (SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (width, len(rows) * (SIDE + _GAP) + _GAP), _PAPER)
    for index, row in enumerate(rows):
        augment = build_augmentation(row.config, {})
        batch = image_3SS.repeat(COLUMNS, 1, 1, 1)
        if augment is not None:
            (batch,) = augment((batch,), torch.Generator().manual_seed(seed))
        drawn = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in batch]
        _draw_row(sheet, row, [square, *drawn], top=_GAP + index * (SIDE + _GAP))
    return sheet


def _draw_row(sheet: Image.Image, row: Row, pictures: Sequence[Image.Image], *, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * _GAP, top + 4), row.label, fill=_INK, font=_FONT)
    lines = _wrapped(row.note or "at its defaults", _LABEL_WIDTH - 4 * _GAP)
    pen.text((2 * _GAP, top + 30), "\n".join(lines), fill=_FAINT, font=_SMALL)
    for index, picture in enumerate(pictures):
        # The picture as it is stands apart from the draws.
        left = _LABEL_WIDTH + index * (SIDE + _GAP) + (_GAP if index else -_GAP)
        sheet.paste(picture, (left, top))


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _SMALL.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _cut(picture: Image.Image) -> Image.Image:
    """Return the square in the middle of a picture, at the side of the sheet's."""
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    square = picture.convert("RGB").crop((left, top, left + side, top + side))
    return square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def example_picture() -> Image.Image:
    """Return a drawn picture whose sides, colours and lines differ, so that every change is seen."""
    size = 4 * SIDE
    picture = Image.linear_gradient("L").resize((size, size))
    picture = Image.merge(
        "RGB", [picture.point(lambda v, low=low: low + v * (245 - low) // 255) for low in (70, 150, 220)]
    )
    pen = ImageDraw.Draw(picture)

    def at(*places: float) -> list[float]:
        return [place * size for place in places]

    pen.ellipse(at(0.08, 0.08, 0.3, 0.3), fill=(250, 205, 60))
    pen.polygon(at(0.0, 0.72, 0.3, 0.38, 0.62, 0.72), fill=(95, 105, 130))
    pen.polygon(at(0.21, 0.48, 0.3, 0.38, 0.39, 0.475, 0.3, 0.5), fill=(240, 243, 247))
    pen.rectangle(at(0, 0.7, 1, 1), fill=(75, 150, 70))
    pen.polygon(at(0.3, 1.0, 0.62, 0.78, 0.72, 0.78, 0.62, 1.0), fill=(200, 175, 130))
    pen.rectangle(at(0.55, 0.48, 0.9, 0.8), fill=(205, 70, 55))
    pen.polygon(at(0.5, 0.5, 0.72, 0.28, 0.95, 0.5), fill=(110, 55, 45))
    pen.rectangle(at(0.62, 0.6, 0.72, 0.8), fill=(70, 45, 40))
    pen.rectangle(at(0.77, 0.56, 0.86, 0.66), fill=(180, 220, 250), outline=(60, 40, 40), width=6)
    for index in range(6):
        left = 0.05 + 0.08 * index
        pen.line(at(left, 0.82, left, 0.95), fill=(250, 250, 245), width=10)
    pen.line(at(0.02, 0.87, 0.49, 0.87), fill=(250, 250, 245), width=10)
    return picture
