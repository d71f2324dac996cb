import io
import os

import datasets
import pandas as pd
import pytest

from autoft.core.errors import DataError
from autoft.data import read_inputs
from tests.data.making import class_folders, picture


def read(inputs, kind, **options):
    names, found = read_inputs(inputs, kind, **options)
    return names, list(found)


def test_a_folder_stands_for_the_pictures_below_it(tmp_path):
    class_folders(tmp_path, {"a": 1, "b/c": 1})
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    names, found = read([tmp_path], "image")
    assert names == [str(tmp_path / "a" / "000.png"), str(tmp_path / "b" / "c" / "000.png")]
    assert found == [picture(0), picture(1000)]


def test_a_file_is_one_picture_whatever_its_ending(tmp_path):
    (tmp_path / "x.dat").write_bytes(picture(3))
    assert read(str(tmp_path / "x.dat"), "image") == ([str(tmp_path / "x.dat")], [picture(3)])


def test_bytes_are_a_picture():
    assert read(picture(1), "image") == (["input 1"], [picture(1)])


def test_lines_on_standard_input_are_texts():
    found = read(["-"], "text", stdin=io.StringIO("one\n\n two\r\n"))
    assert found == (["stdin:1", "stdin:3"], ["one", " two"])


def test_lines_of_a_text_file_are_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert read([tmp_path / "a.txt"], "text")[1] == ["one", "two"]


def test_a_string_is_a_text_in_python():
    assert read("A fine film.", "text") == (["A fine film."], ["A fine film."])


def test_half_of_a_surrogate_pair_is_marked_in_a_text():
    assert read(["fine \ud83d film", "well"], "text") == (["fine \ufffd film", "well"],) * 2


def test_a_long_text_is_named_by_its_beginning():
    assert read_inputs(["x" * 100], "text")[0] == ["x" * 57 + "..."]


def test_a_word_on_a_command_line_is_a_path():
    with pytest.raises(DataError, match=r"There is no file or folder 'A fine film.'"):
        read_inputs(["A fine film."], "text", stdin=io.StringIO())


def test_a_string_called_like_a_table_is_a_path():
    with pytest.raises(DataError, match=r"There is no file or folder 'none.csv'"):
        read_inputs("none.csv", "text")


@pytest.mark.parametrize("text", [".", "docs", "see notes.txt", "rows.csv"])
def test_strings_of_a_list_are_texts_whatever_lies_there(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("one\n")
    (tmp_path / "rows.csv").write_text("text\none\n")
    assert read([text, "fine"], "text") == ([text, "fine"], [text, "fine"])


def test_a_string_alone_is_a_place_where_a_folder_or_table_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("one\n")
    (tmp_path / "rows.csv").write_text("text\none\n")
    assert read("docs", "text")[1] == read("rows.csv", "text")[1] == ["one"]


def test_strings_of_a_list_are_paths_of_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    assert read([str(tmp_path / "a.png")], "image")[1] == [picture(0)]


def test_words_on_a_command_line_are_paths(tmp_path):
    (tmp_path / "a.csv").write_text("text\none\n")
    assert read([str(tmp_path / "a.csv")], "text", stdin=io.StringIO())[1] == ["one"]


def test_a_table_needs_no_target(tmp_path):
    (tmp_path / "a.csv").write_text("text,score\nfine,1\npoor,2\n")
    assert read([tmp_path / "a.csv"], "text") == (["a.csv row 1", "a.csv row 2"], ["fine", "poor"])


def test_the_target_of_a_labelled_table_is_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("review,label\nfine,good\npoor,bad\n")
    assert read([tmp_path / "a.csv"], "text")[1] == ["fine", "poor"]


def test_the_column_of_the_training_is_taken_where_a_table_has_it(tmp_path):
    (tmp_path / "a.csv").write_text("title,plot\nx,fine\n")
    (tmp_path / "b.csv").write_text("text\npoor\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert read(files, "text", column="plot")[1] == ["fine", "poor"]


def test_the_target_of_the_training_is_no_input(tmp_path):
    (tmp_path / "a.csv").write_text("review,mood\nfine,good\npoor,bad\n")
    assert read([tmp_path / "a.csv"], "text", target="mood")[1] == ["fine", "poor"]


@pytest.mark.parametrize("target", [None, "labels"])
@pytest.mark.parametrize("values", [[[1]] * 30, [index / 7 for index in range(30)], [object()] * 30])
def test_a_column_that_is_no_target_hinders_no_prediction(target, values):
    frame = pd.DataFrame({"text": ["a"] * 30, "labels": values})
    assert read(frame, "text", target=target)[1] == ["a"] * 30


def test_the_input_of_the_training_may_be_called_like_a_target():
    frame = pd.DataFrame({"category": ["a", "b"]})
    assert read(frame, "text", column="category", target="mood")[1] == ["a", "b"]


def test_columns_among_which_the_training_does_not_tell_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("one,two\nx,y\n")
    with pytest.raises(DataError, match=r"the input: one, two\? Say it with a column called 'plot', as in "):
        read_inputs([tmp_path / "a.csv"], "text", column="plot")


def test_paths_in_a_table_are_pictures(tmp_path):
    class_folders(tmp_path, {"a": 1})
    (tmp_path / "a.csv").write_text("file\na/000.png\n")
    assert read([tmp_path / "a.csv"], "image")[1] == [picture(0)]


def test_a_data_frame_is_read():
    assert read(pd.DataFrame({"text": ["a", "b"]}), "text") == (["row 1", "row 2"], ["a", "b"])


def test_a_hugging_face_dataset_is_read(tmp_path):
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    data.save_to_disk(tmp_path / "hf")
    assert read(data, "text")[1] == read(tmp_path / "hf", "text")[1] == ["a", "b"]


def test_a_bad_input_is_named_when_it_is_read(tmp_path):
    (tmp_path / "a.csv").write_text("text\nfine\n \n")
    _, found = read_inputs([tmp_path / "a.csv"], "text")
    with pytest.raises(DataError, match=r"'a.csv row 2' cannot be used: the text is empty"):
        found[1]


def test_a_bad_input_may_have_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / "\udce9.jpg").symlink_to("gone")
    _, found = read_inputs([tmp_path], "image")
    with pytest.raises(DataError, match=r"/\?.jpg' cannot be used: there is no file '.*/\?.jpg'"):
        found[0]


def test_a_pipe_in_a_folder_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    _, found = read_inputs([tmp_path], "image")
    with pytest.raises(DataError, match=r"x.jpg' is a pipe, a socket or a device"):
        found[0]


def test_a_slice_is_still_unread(tmp_path):
    (tmp_path / "a.csv").write_text("text\nfine\n \nwell\n")
    _, found = read_inputs([tmp_path / "a.csv"], "text")
    assert found[::2][1] == "well"


@pytest.mark.parametrize(
    ("inputs", "kind", "words"),
    [
        ([], "text", "There is no text to predict"),
        ([" "], "text", "Input 1 is an empty text"),
        ([b"x"], "text", "Bytes are no text"),
        ([3], "image", "A int is no picture to predict; give a path or bytes"),
        (3, "text", "A int is no text to predict; give a path or a str"),
        (["/none.png"], "image", "There is no file or folder '/none.png'"),
    ],
)
def test_what_cannot_be_predicted_is_said(inputs, kind, words):
    with pytest.raises(DataError, match=words):
        read_inputs(inputs, kind)


def test_a_folder_without_pictures_is_said(tmp_path):
    with pytest.raises(DataError, match=r"holds no picture to predict"):
        read_inputs([tmp_path], "image")


def test_a_picture_for_a_model_of_texts_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(0))
    with pytest.raises(DataError, match=r"a.png' is no text: give a file that ends in .txt or .text"):
        read_inputs([tmp_path / "a.png"], "text")


def test_texts_for_a_model_of_pictures_are_said():
    with pytest.raises(DataError, match=r"of no use to a model of pictures"):
        read_inputs(["-"], "image", stdin=io.StringIO("a\n"))


def test_a_text_file_of_another_encoding_is_said(tmp_path):
    (tmp_path / "a.txt").write_bytes("café\n".encode("latin-1"))
    (_, bad), found = read_inputs(["x", tmp_path / "a.txt"], "text")
    assert bad == str(tmp_path / "a.txt")
    assert found[0] == "x"
    with pytest.raises(DataError, match=r"a.txt' cannot be used: it is not in UTF-8: 'utf-8' codec can't decode "):
        found[1]


@pytest.mark.parametrize("whole", [True, False])
def test_a_pipe_called_like_a_text_is_named_and_not_waited_for(tmp_path, whole):
    os.mkfifo(tmp_path / "x.txt")
    (tmp_path / "y.txt").write_text("fine\n")
    names, found = read_inputs([tmp_path] if whole else [tmp_path / "x.txt", tmp_path / "y.txt"], "text")
    assert names == [str(tmp_path / "x.txt"), f"{tmp_path / 'y.txt'}:1"]
    assert found[1] == "fine"
    with pytest.raises(DataError, match=r"x.txt' cannot be used: the file '.*x.txt' is a pipe, a socket or a device"):
        found[0]


def test_a_text_file_that_is_gone_is_named_beside_the_others(tmp_path):
    (tmp_path / "x.txt").symlink_to("nowhere")
    (tmp_path / "y.txt").write_text("fine\n")
    _, found = read_inputs([tmp_path], "text")
    assert found[1] == "fine"
    with pytest.raises(DataError, match=r"x.txt' cannot be used: there is no file '.*x.txt'\.$"):
        found[0]


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter in the C locale
def test_a_mark_before_the_texts_on_standard_input_is_no_part_of_them(errors):
    encoding = "utf-8" if errors == "strict" else "ascii"
    marked = io.TextIOWrapper(io.BytesIO("\ufefffine\n".encode()), encoding=encoding, errors=errors)
    assert read(["-"], "text", stdin=marked) == (["stdin:1"], ["fine"])
    assert read(["-"], "text", stdin=io.StringIO("\ufeff\nfine\n")) == (["stdin:2"], ["fine"])


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # the latter in the C locale
def test_standard_input_of_another_encoding_is_said(errors):
    latin = io.TextIOWrapper(io.BytesIO("fine\ncafé\n".encode("latin-1")), encoding="utf-8", errors=errors)
    with pytest.raises(DataError, match=r"^'stdin' is not in UTF-8: .* can't decode byte 0xe9 in position \d: "):
        read_inputs(["-"], "text", stdin=latin)
