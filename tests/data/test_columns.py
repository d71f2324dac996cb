import datetime
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from autoft.core.configs import DataSpec
from autoft.core.errors import DataError
from autoft.data.columns import Columns, choose_columns, column_kind, labels_of, part_of
from autoft.data.tables import from_memory, objects_of, read_table


def memory(**columns):
    return from_memory(pd.DataFrame(columns), "frame")


def chosen(table, kind=None, **named):
    return choose_columns(table, DataSpec(source=None, **named), kind)


def refusal(table, kind=None, **named):
    with pytest.raises(DataError) as caught:
        chosen(table, kind, **named)
    return str(caught.value)


def test_one_text_column_and_a_label_are_plain():
    assert chosen(memory(review=["a b", "c"], label=[0, 1])) == Columns("review", "label", "text")


def test_a_column_of_paths_makes_pictures_even_beside_a_text():
    table = memory(file=["a/1.jpg", "b/2.PNG"], caption=["x y", "z"], label=[0, 1])
    assert chosen(table) == Columns("file", "label", "path")


def test_a_text_task_takes_the_text_beside_the_paths():
    table = memory(file=["a/1.jpg", "b/2.png"], caption=["x y", "z"], label=[0, 1])
    assert chosen(table, "text") == Columns("caption", "label", "text")


def test_a_column_of_bytes_makes_pictures():
    assert chosen(memory(image=[b"1", b"2"], label=[0, 1])).kind == "content"


def test_the_target_given_by_name_is_no_text_column():
    assert chosen(memory(text=["a", "b"], mood=["x", "y"]), target="mood") == Columns("text", "mood", "text")


def test_a_text_column_of_a_usual_name_wins_over_others():
    assert chosen(memory(id=["u1", "u2"], text=["a", "b"], label=[0, 1])).input == "text"


def test_two_text_columns_are_ambiguous():
    message = refusal(memory(premise=["a", "b"], hypothesis=["c", "d"], label=[0, 1]))
    assert message == (
        "Which column of frame is the input: premise, hypothesis? Say it with `--set data.input=COLUMN`."
    )


def test_two_picture_columns_are_ambiguous():
    assert "left, right?" in refusal(memory(left=["1.png"], right=["2.png"], label=[0]))


def test_an_input_given_by_name_ends_the_ambiguity():
    table = memory(premise=["a", "b"], hypothesis=["c", "d"], label=[0, 1])
    assert chosen(table, input="hypothesis").input == "hypothesis"


def test_paths_without_endings_are_taken_when_the_task_and_column_are_given():
    assert chosen(memory(file=["a", "b"], label=[0, 1]), "image", input="file").kind == "path"


def test_the_group_column_is_no_input():
    assert chosen(memory(text=["a"], author=["x"], label=[0]), group="author").input == "text"


def test_a_missing_target_gets_the_nearest_name():
    message = refusal(memory(text=["a"], sentiment=["x"]), target="sentimnt")
    assert message == (
        "frame has no column 'sentimnt' (--target). Did you mean 'sentiment'? Its columns: text, sentiment."
    )


def test_a_missing_group_is_named():
    assert "no column 'patient' (--group)" in refusal(memory(text=["a"], label=[0]), group="patient")


def test_a_missing_input_is_named():
    assert "no column 'body' (--set data.input)" in refusal(memory(text=["a"], label=[0]), input="body")


def test_an_unclear_target_lists_the_columns():
    message = refusal(memory(text=["a"], mood=["x"]))
    assert message.startswith("Which column of frame is to be predicted? Say it with `--target COLUMN`")
    assert message.endswith("Its columns: text, mood.")


def test_two_usual_names_of_a_target_are_unclear():
    assert "is to be predicted?" in refusal(memory(text=["a"], label=[0], target=[1]))


def test_a_table_of_numbers_holds_no_input():
    message = refusal(memory(a=[1, 2], label=[0, 1]))
    assert message.startswith("No column of frame holds texts or pictures to learn from. Its columns: a, label.")


@pytest.mark.parametrize("note", [["\ud800 x"], {"a": "\ud800 x"}, {"\ud800": 1}])
def test_half_of_a_surrogate_pair_in_a_list_or_map_is_no_obstacle_to_reading_the_other_columns(tmp_path, note):
    rows = [{"review": "a b", "note": note, "label": "x"}, {"review": "c", "note": note, "label": "y"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for table in (read_table(path), memory(**{name: [row[name] for row in rows] for name in rows[0]})):
        assert chosen(table).input == "review"
        assert labels_of(table, "label") == ["x", "y"]
        assert list(objects_of(table)) == ["note"]


def test_half_of_a_surrogate_pair_in_the_name_of_a_column_is_marked(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"review": "a b", "\\ud800": 1}\n')
    assert read_table(path).content.column_names == ["review", "\ufffd"]


def test_dates_of_numpy_in_a_mixed_column_cannot_be_read():
    dates = pd.Series([np.datetime64("2020-01-01", "ns"), "x"], dtype=object)
    assert objects_of(memory(label=dates)) == {"label": "datetime64"}


def test_objects_that_cannot_be_read_are_named():
    table = memory(image=[object()], label=[0])
    words = "Column 'image' {}holds object objects, which cannot be read; give texts, numbers, paths or bytes."
    assert words.format("") in refusal(table)
    assert refusal(table, input="image") == words.format("of frame ")


def test_an_image_task_needs_pictures():
    assert "holds paths or bytes of pictures to learn from" in refusal(memory(text=["a b"], label=[0]), "image")


def test_a_named_input_of_numbers_is_refused():
    assert "Column 'a' of frame (--set data.input) holds no texts" in refusal(memory(a=[1], label=[0]), input="a")


def test_the_input_cannot_be_the_target():
    assert "cannot be both" in refusal(memory(text=["a"], label=["x"]), input="text", target="text")


def test_numbers_written_in_a_csv_are_no_texts(tmp_path):
    (tmp_path / "a.csv").write_text("id,score,text,label\n1,0.5,a b,x\n2,1e-3,c d,y\n")
    table = read_table(tmp_path / "a.csv")
    assert [column_kind(table, name) for name in ("id", "score", "text")] == [None, None, "text"]
    assert chosen(table).input == "text"


def test_categories_are_texts():
    table = from_memory(pd.DataFrame({"text": ["a b", "c"], "label": pd.Categorical(["x", "y"])}), "frame")
    assert labels_of(table, "label") == ["x", "y"]
    assert chosen(table).input == "text"


def test_numbers_cut_into_intervals_are_labels():
    cut = pd.cut(pd.Series([0.5, 1.5, None, 3.0]), [0, 1, 2])
    assert labels_of(memory(label=cut), "label") == ["(0, 1]", "(1, 2]", None, None]


def test_intervals_are_labels():
    intervals = pd.Series(pd.arrays.IntervalArray.from_breaks([0.0, 0.5, 1.0]))
    assert labels_of(memory(label=intervals), "label") == ["(0.0, 0.5]", "(0.5, 1.0]"]


def test_numbers_cut_into_quantiles_are_labels():
    cut = pd.qcut(pd.Series([1.0, 2.0, 3.0, 4.0]), 2)
    assert labels_of(memory(label=cut), "label") == ["(0.999, 2.5]", "(0.999, 2.5]", "(2.5, 4.0]", "(2.5, 4.0]"]


def test_periods_are_labels():
    periods = pd.Series(pd.PeriodIndex(["2020-01", None, "2020-02"], freq="M"))
    for values in (periods, periods.astype("category")):
        assert labels_of(memory(label=values), "label") == ["2020-01", None, "2020-02"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([pd.Interval(0, 1), None, pd.Interval(1, 2), float("nan")], ["(0, 1]", None, "(1, 2]", None]),
        ([pd.Period("2020-01"), pd.NaT, pd.Period("2020-02")], ["2020-01", None, "2020-02"]),
        ([pd.Interval(0, 1), "rest", 3, pd.NA], ["(0, 1]", "rest", "3", None]),
        ([np.int64(1), "x", np.float32(1.5), np.bool_(True), pd.NA], ["1", "x", "1.5", "True", None]),
        ([2**70, 1, None], ["1180591620717411303424", "1", None]),
    ],
)
def test_objects_of_pandas_and_numpy_in_a_mixed_column_are_labels(values, labels):
    assert labels_of(memory(label=pd.Series(values, dtype=object)), "label") == labels


def test_intervals_are_no_input_and_may_be_a_group():
    cut = pd.cut(pd.Series([1.0, 2.0, None]), [0, 1, 2])
    table = memory(review=["a b", "c", "d"], size=cut, label=["x", "y", "x"])
    assert chosen(table).input == "review"
    assert part_of(table, chosen(table), "size", "row ").groups == ["(0, 1]", "(1, 2]", None]


def test_categories_of_numbers_keep_their_type():
    table = memory(label=pd.Categorical([2.0, None, 1.0]))
    assert labels_of(table, "label") == ["2", None, "1"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, None, 2.0], ["1", None, "2"]),
        ([0.5, float("inf")], ["0.5", None]),
        ([True, False], ["True", "False"]),
        (["a ", " ", None], ["a", None, None]),
        ([datetime.date(2020, 1, 2)], ["2020-01-02"]),
    ],
)
def test_targets_become_labels(values, labels):
    assert labels_of(from_memory(pa.table({"label": values}), "table"), "label") == labels


def test_missing_words_of_a_csv_target_are_missing(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\na,x\nb,\nc,NaN\nd,NA\ne,None\nf," "\n')
    assert labels_of(read_table(tmp_path / "a.csv"), "label") == ["x", None, None, None, "None", None]


def test_a_measure_is_no_class():
    table = memory(text=["a"] * 30, label=[index / 7 for index in range(30)])
    with pytest.raises(DataError, match=r"30 different fractional numbers|2[0-9] different fractional numbers"):
        labels_of(table, "label")


def test_many_whole_numbers_are_classes():
    assert len(set(labels_of(memory(label=list(range(100))), "label"))) == 100


def test_a_target_of_lists_is_refused():
    with pytest.raises(DataError, match=re.escape("a label is a text or a number")):
        labels_of(from_memory(pa.table({"label": [[1], [2]]}), "table"), "label")
