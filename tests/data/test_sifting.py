import os

import pandas as pd
import pytest

from autoft.core.errors import DataError
from autoft.data.rows import LARGEST_PICTURE_BYTES, Quarantined
from autoft.data.sifting import summary_of
from tests.data.making import class_folders, picture, prepared, texts
from tests.data.test_pictures import giant_png

NUMBERS = {"a": 15, "b": 15}


def reason(data, out):
    (only,) = prepared(data, out).quarantine
    return only.reason


def folder_with(tmp_path, name, content):
    class_folders(tmp_path / "data", NUMBERS)
    (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


def test_a_truncated_picture_is_set_aside(tmp_path):
    data = folder_with(tmp_path, "a/cut.jpg", picture(0, "JPEG", side=64)[:900])
    assert reason(data, tmp_path / "out").startswith("the picture is broken (")


def test_a_picture_whose_content_is_none_is_set_aside(tmp_path):
    data = folder_with(tmp_path, "a/page.jpg", b"<html>404</html>")
    assert reason(data, tmp_path / "out") == "the content is no picture of a kind that can be read"


def test_a_text_in_a_class_folder_is_set_aside_by_name(tmp_path):
    found = prepared(folder_with(tmp_path, "a/notes.txt", b"remember"), tmp_path / "out")
    assert found.quarantine == (
        Quarantined(
            "a/notes.txt",
            "the content is no picture of a kind that can be read; its name, 'notes.txt', is not like a picture's "
            "either",
        ),
    )


def test_a_picture_under_another_ending_is_a_picture(tmp_path):
    assert prepared(folder_with(tmp_path, "a/scan.dat", picture(900)), tmp_path / "out").quarantine == ()


def test_an_empty_file_is_set_aside(tmp_path):
    assert reason(folder_with(tmp_path, "a/zero.png", b""), tmp_path / "out") == "the picture is empty (0 bytes)"


def test_a_decompression_bomb_is_set_aside(tmp_path):
    data = folder_with(tmp_path, "a/bomb.png", giant_png(10_000, 10_000))
    assert reason(data, tmp_path / "out") == "the picture has 100,000,000 pixels, more than 89,478,485"


def test_a_loose_picture_is_set_aside(tmp_path):
    data = folder_with(tmp_path, "loose.png", picture(900))
    assert reason(data, tmp_path / "out") == "it lies in no class folder"


def test_a_file_name_that_is_not_utf8_is_set_aside(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    with open(os.fsencode(data / "a") + b"/\xff.png", "wb") as file:  # noqa: PTH123 - a name no Path can spell
        file.write(picture(900))
    assert reason(data, tmp_path / "out") == "the name of its file is not UTF-8"


def test_a_file_that_is_no_picture_may_have_a_name_that_is_not_utf8(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    (data / "a" / "R\udce9sum\udce9.txt").write_bytes(b"remember")
    assert "its name, 'R?sum?.txt', is not" in reason(data, tmp_path / "out")


def test_a_link_that_leads_nowhere_may_have_a_name_that_is_not_utf8(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    (data / "a" / "\udce9.jpg").symlink_to("gone")
    assert reason(data, tmp_path / "out") == f"there is no file '{data / 'a' / '?.jpg'}'"


def test_a_missing_file_of_a_table_is_set_aside_by_its_path(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    rows = [(f"{label}/{index:03d}.png", label) for label in NUMBERS for index in range(15)]
    pd.DataFrame([*rows, ("a/gone.png", "a")], columns=["file", "label"]).to_csv(data / "rows.csv", index=False)
    assert reason(data / "rows.csv", tmp_path / "out") == f"there is no file '{data / 'a' / 'gone.png'}'"


def test_a_folder_where_a_picture_should_be_is_set_aside(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    (data / "b" / "inner.png").mkdir()
    rows = [(f"{label}/{index:03d}.png", label) for label in NUMBERS for index in range(15)]
    pd.DataFrame([*rows, ("b/inner.png", "a")], columns=["file", "label"]).to_csv(data / "rows.csv", index=False)
    assert "cannot be read: Is a directory" in reason(data / "rows.csv", tmp_path / "out")


def test_a_pipe_in_a_class_folder_is_set_aside_unread(tmp_path):
    data = class_folders(tmp_path / "data", NUMBERS)
    os.mkfifo(data / "a" / "x.jpg")
    assert reason(data, tmp_path / "out") == f"the file '{data / 'a' / 'x.jpg'}' is a pipe, a socket or a device"


def test_a_file_larger_than_any_picture_is_set_aside_unread(tmp_path):
    data = folder_with(tmp_path, "a/film.mp4", b"")
    os.truncate(data / "a" / "film.mp4", LARGEST_PICTURE_BYTES + 1)
    assert reason(data, tmp_path / "out") == (
        f"the file '{data / 'a' / 'film.mp4'}' is larger than any picture that is read "
        "(1,073,741,825 bytes; the most are 1,073,741,824)"
    )


@pytest.mark.parametrize("text", ["", " \n\t", None])
def test_an_empty_text_is_set_aside(tmp_path, text):
    frame = texts(NUMBERS)
    frame.loc[7, "text"] = text
    found = prepared(frame, tmp_path)
    assert found.quarantine == (Quarantined("row 8", "the text is empty"),)


def test_a_missing_target_is_set_aside(tmp_path):
    frame = texts(NUMBERS)
    frame.loc[7, "label"] = None
    assert prepared(frame, tmp_path).quarantine == (Quarantined("row 8", "the target is missing"),)


def test_a_tenth_of_bad_rows_is_borne(tmp_path):
    frame = texts({"a": 10, "b": 10})
    frame.loc[[3, 13], "text"] = ""
    assert len(prepared(frame, tmp_path).quarantine) == 2


def test_more_than_a_tenth_stops_with_examples(tmp_path):
    frame = texts({"a": 10, "b": 10})
    frame.loc[[3, 4, 13, 14], "text"] = ""
    with pytest.raises(DataError) as caught:
        prepared(frame, tmp_path / "out")
    assert str(caught.value) == (
        "4 of 20 rows of the data (DataFrame) cannot be used, more than 10%: row 4: the text is empty; row 5: the text "
        "is empty; row 14: the text is empty; and 1 more. Mend or remove them."
    )
    assert not (tmp_path / "out").exists()


def test_given_test_data_without_one_good_row_are_refused(tmp_path):
    test = pd.DataFrame({"text": ["", " "], "label": ["a", "b"]})
    with pytest.raises(DataError, match=r"Not one of the 2 test rows .* can be used: test row 1: the text is empty"):
        prepared(texts({"a": 40, "b": 40}), tmp_path, test=test)


def test_reasons_of_one_kind_are_counted_together():
    rows = [
        Quarantined("1", "the picture is broken (image file is truncated)"),
        Quarantined("2", "the picture is broken (bad header)"),
        Quarantined("3", "there is no file '/a/b.png'"),
        Quarantined("4", "the content is no picture; its name, 'x.txt', is not like a picture's either"),
    ]
    assert summary_of(rows) == ["2 x the picture is broken", "1 x there is no file", "1 x the content is no picture"]
