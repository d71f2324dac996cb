from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoft.augment.contact_sheet import COLUMNS, SIDE, draw_sheet, example_picture, rows_of
from autoft.cli import main
from autoft.space import Choice, IntUniform, SearchSpace, Uniform

OP = {"name": "rotate", "magnitude": Uniform(0.1, 0.9, prior=0.5)}


def space(augmentation):
    return SearchSpace(task="image-classification", augmentation=augmentation)


def notes(augmentation):
    return [(row.label, row.note) for row in rows_of(space(augmentation))]


def test_rows_are_each_policy_then_its_searched_settings_at_their_ends():
    branches = [
        "none",
        {"name": "randaugment", "magnitude": IntUniform(0, 10), "flip": Choice([True, False])},
        {"name": "learned", "op1": Choice([OP, "blur"]), "op2": "invert"},
    ]
    assert notes(Choice(branches)) == [
        ("none", ""),
        ("randaugment", ""),
        ("randaugment", "magnitude 0"),
        ("randaugment", "magnitude 10"),
        ("randaugment", "flip false"),
        ("learned", ""),
        ("learned", "op1: magnitude 0.1"),
        ("learned", "op1: magnitude 0.9"),
        ("learned", "op1: blur"),
    ]


def test_a_space_that_says_nothing_has_the_tasks_augmentation():
    (row,) = rows_of(SearchSpace(task="image-classification", batch_size=Choice([8, 16])))
    assert row.label == "crop_flip"


def test_a_sheet_has_the_picture_and_its_draws_in_each_row():
    rows = rows_of(space(Choice(["none", "jitter"])))
    sheet = draw_sheet(rows, example_picture(), seed=0)
    assert sheet.width > (COLUMNS + 1) * SIDE
    assert 2 * SIDE < sheet.height < 3 * SIDE
    assert np.array_equal(np.array(sheet), np.array(draw_sheet(rows, example_picture(), seed=0)))
    assert not np.array_equal(np.array(sheet), np.array(draw_sheet(rows, example_picture(), seed=1)))


def test_the_command_draws_a_picture_of_ones_own(tmp_path: Path):
    Image.new("L", (40, 30), 200).save(tmp_path / "grey.png")
    out = tmp_path / "new" / "sheet.png"
    file = tmp_path / "one.yaml"
    file.write_text("task: image-classification\naugmentation: flip\n")
    assert main(["space", "show", str(file), "--augmentations", str(out), "--picture", str(tmp_path / "grey.png")]) == 0
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["text-classification/quick", "--augmentations", "a.png"], "is a space for text-classification"),
        (["image-classification/quick", "--picture", "a.png"], "--picture is for --augmentations"),
        (["image-classification/quick", "--augmentations", "a.png", "--picture", "no.png"], "cannot be read"),
        (
            ["image-classification/quick", "--augmentations", "a.png", "--picture", __file__],
            "cannot be read as a picture: the content is no picture of a kind that can be read.",
        ),
        (
            ["image-classification/quick", "--augmentations", "a.png", "--picture", "/dev/zero"],
            "cannot be read as a picture: the file '/dev/zero' is a pipe, a socket or a device.",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["space", "show", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
