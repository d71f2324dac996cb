import pytest

from autoft.core.errors import DataError
from autoft.data.labelled import read_evaluation_data
from tests.data.making import class_folders, picture, texts


def test_targets_are_places_in_the_models_labels(tmp_path):
    class_folders(tmp_path, {"cat": 1, "dog": 2})
    inputs, targets = read_evaluation_data(tmp_path, kind="image", labels=["ant", "cat", "dog"])
    assert targets.tolist() == [1, 2, 2]
    assert list(inputs) == [picture(0), picture(1000), picture(1001)]


def test_a_table_is_read_by_the_target_of_the_training():
    frame = texts({"a": 2, "b": 1}).rename(columns={"label": "mood"})
    inputs, targets = read_evaluation_data(frame, kind="text", labels=["a", "b"], target="mood")
    assert targets.tolist() == [0, 0, 1]
    assert inputs[2] == "b text 0"


def test_a_table_is_read_by_the_column_of_the_training():
    frame = texts({"a": 2, "b": 1}).rename(columns={"text": "plot"})
    frame.insert(0, "title", ["x", "y", "z"])
    inputs, _ = read_evaluation_data(frame, kind="text", labels=["a", "b"], column="plot")
    assert inputs[2] == "b text 0"


def test_unknown_labels_are_refused_by_name():
    with pytest.raises(DataError, match=r"labels that the model does not know: 'b'. It knows 'a', 'c'"):
        read_evaluation_data(texts({"a": 2, "b": 1}), kind="text", labels=["a", "c"])


def test_bad_rows_are_left_out_with_a_warning():
    frame = texts({"a": 10, "b": 10})
    frame.loc[3, "text"] = ""
    with pytest.warns(UserWarning, match=r"1 rows of the data \(DataFrame\) are left out: 1 x the text is empty"):
        inputs, targets = read_evaluation_data(frame, kind="text", labels=["a", "b"])
    assert len(inputs) == len(targets) == 19


def test_too_many_bad_rows_are_refused():
    frame = texts({"a": 10, "b": 10})
    frame.loc[:3, "text"] = ""
    with pytest.raises(DataError, match=r"4 of 20 rows"):
        read_evaluation_data(frame, kind="text", labels=["a", "b"])


def test_one_of_several_splits_is_asked_for(tmp_path):
    for split in ("train", "test"):
        class_folders(tmp_path / split, {"a": 1, "b": 1})
    with pytest.raises(DataError, match=r"has the splits train, test; give one of them"):
        read_evaluation_data(tmp_path, kind="image", labels=["a", "b"])


def test_pictures_for_a_model_of_texts_are_refused(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match=r"The model takes texts"):
        read_evaluation_data(tmp_path, kind="text", labels=["a", "b"])
