from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from autoft.core.errors import DataError
from autoft.data.tables import from_memory, objects_of, read_table


def table_of(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path).content.to_pydict()


def test_csv_cells_stay_the_texts_that_they_are(tmp_path):
    found = table_of(tmp_path / "a.csv", "text,label\nfine,01\nNA,True\n")
    assert found == {"text": ["fine", "NA"], "label": ["01", "True"]}


def test_csv_cells_in_quotes_may_hold_commas_and_lines(tmp_path):
    found = table_of(tmp_path / "a.csv", 'text,label\n"one, two\nthree ""four""",x\n')
    assert found == {"text": ['one, two\nthree "four"'], "label": ["x"]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert list(table_of(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\na,b\n")) == ["text", "label"]


def test_semicolons_are_seen(tmp_path):
    assert table_of(tmp_path / "a.csv", "text;label\na, b;c\n") == {"text": ["a, b"], "label": ["c"]}


def test_a_csv_of_one_column_is_read(tmp_path):
    assert table_of(tmp_path / "a.csv", "text\na\n") == {"text": ["a"]}


def test_tsv_quotes_that_close_are_quotes(tmp_path):
    assert table_of(tmp_path / "a.tsv", 'text\tlabel\n"a b"\tc\n') == {"text": ["a b"], "label": ["c"]}


def test_tsv_quotes_that_do_not_close_swallow_no_rows(tmp_path):
    found = table_of(tmp_path / "a.tsv", 'text\tlabel\n"open quote\tx\nplain\ty\nand" closed\tz\nlast\tw\n')
    assert found["text"] == ['"open quote', "plain", 'and" closed', "last"]
    assert found["label"] == ["x", "y", "z", "w"]


def test_tsv_quotes_may_hold_tabs(tmp_path):
    found = table_of(tmp_path / "a.tsv", 'text\tlabel\n"a\tb"\tx\nc\ty\n')
    assert found == {"text": ["a\tb", "c"], "label": ["x", "y"]}


def test_a_malformed_row_among_those_that_a_tsv_quote_swallowed_is_refused(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tlabel\n"open\tx\na\tb\tc\nend"\tz\n')
    with pytest.raises(DataError, match=r"Expected 2 columns, got 3"):
        read_table(tmp_path / "a.tsv")


def test_jsonl_keeps_types_and_fills_missing_keys(tmp_path):
    found = table_of(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b", "more": true}\n')
    assert found == {"text": ["a", "b"], "label": [1, None], "more": [None, True]}


def test_jsonl_labels_of_mixed_types_become_texts(tmp_path):
    assert table_of(tmp_path / "a.jsonl", '{"label": 1}\n{"label": "x"}\n') == {"label": ["1", "x"]}


def test_jsonl_labels_that_are_nan_beside_texts_are_missing(tmp_path):
    assert table_of(tmp_path / "a.jsonl", '{"label": NaN}\n{"label": "x"}\n') == {"label": [None, "x"]}


def test_half_a_surrogate_pair_in_json_is_marked(tmp_path):
    assert table_of(tmp_path / "a.jsonl", '{"text": "a\\ud800 b"}\n') == {"text": ["a\ufffd b"]}


def test_a_broken_json_line_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.jsonl:2 is no JSON"):
        table_of(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": \n')


def test_a_json_line_that_is_no_object_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.jsonl:1 is no JSON object"):
        table_of(tmp_path / "a.jsonl", "[1, 2]\n")


def test_parquet_is_read(tmp_path):
    parquet.write_table(pa.table({"text": ["a"], "label": [3]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").content.to_pydict() == {"text": ["a"], "label": [3]}


def test_a_damaged_parquet_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read"):
        table_of(tmp_path / "a.parquet", b"no parquet at all")


def test_another_encoding_is_named_with_the_way_out(tmp_path):
    with pytest.raises(DataError, match=r"not in UTF-8; convert it, for example with `iconv"):
        table_of(tmp_path / "a.csv", "text,label\ncafé,x\n".encode("latin-1"))


@pytest.mark.parametrize(("name", "encoding"), [("a.csv", "latin-1"), ("a.tsv", "latin-1"), ("a.tsv", "utf-16")])
def test_another_encoding_in_the_names_of_columns_is_named(tmp_path, name, encoding):
    with pytest.raises(DataError, match=r"not in UTF-8"):
        table_of(tmp_path / name, "text\tcafé\na\tx\n".encode(encoding))


def test_jsonl_of_another_encoding_is_named(tmp_path):
    with pytest.raises(DataError, match=r"not in UTF-8"):
        table_of(tmp_path / "a.jsonl", '{"text": "café"}\n'.encode("latin-1"))


def test_a_row_with_too_many_cells_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Expected 2 columns, got 3"):
        table_of(tmp_path / "a.csv", "text,label\na,b,c\n")


def test_a_row_with_too_few_cells_is_named_by_its_number(tmp_path):
    with pytest.raises(DataError, match=r"Row #4: Expected 2 columns, got 1: c\."):
        table_of(tmp_path / "a.csv", "text,label\na,x\nb,y\nc\n")


def test_the_number_of_a_row_is_known_on_several_cores_too(tmp_path):
    num_cores = pa.cpu_count()
    try:
        pa.set_cpu_count(2)
        with pytest.raises(DataError, match=r"Row #4: Expected 2 columns, got 1: c\."):
            table_of(tmp_path / "a.csv", "text,label\na,x\nb,y\nc\n")
    finally:
        pa.set_cpu_count(num_cores)


def test_a_cell_may_be_larger_than_what_is_read_at_once(tmp_path):
    long = "w " * 2**24
    found = table_of(tmp_path / "a.csv", f"text,label\na,x\n{long},y\nb,x\n")
    assert found == {"text": ["a", long, "b"], "label": ["x", "y", "x"]}


def test_an_unknown_ending_lists_the_known(tmp_path):
    with pytest.raises(DataError, match=r"'.csv', '.tsv', '.jsonl', '.ndjson' or '.parquet'"):
        table_of(tmp_path / "a.xlsx", "x")


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is empty"):
        table_of(tmp_path / "a.csv", "")


def test_a_table_with_a_header_alone_has_no_rows(tmp_path):
    with pytest.raises(DataError, match=r"has no rows"):
        table_of(tmp_path / "a.csv", "text,label\n")


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"two columns called 'text'"):
        table_of(tmp_path / "a.csv", "text,text\na,b\n")


def test_a_data_frame_loses_its_index_and_keeps_missing_values():
    frame = pd.DataFrame({"text": ["a", None], "label": [1.0, float("nan")]}, index=[7, 9])
    assert from_memory(frame, "frame").content.to_pydict() == {"text": ["a", None], "label": [1.0, None]}


def test_a_data_frame_of_mixed_labels_becomes_texts():
    frame = pd.DataFrame({"label": [1, "x", float("nan")]})
    assert from_memory(frame, "frame").content.to_pydict() == {"label": ["1", "x", None]}


@pytest.mark.parametrize(("other", "kept"), [("c", "c"), (1, "1"), (float("nan"), None)])
def test_half_a_surrogate_pair_in_a_data_frame_is_marked(other, kept):
    frame = pd.DataFrame({"text": pd.Series([other, "a\ud800 b"], dtype=object)})
    assert from_memory(frame, "frame").content.to_pydict() == {"text": [kept, "a\ufffd b"]}


def test_a_data_frame_of_paths_holds_their_texts():
    frame = pd.DataFrame({"image": [Path("a/b.png"), None], "label": [0, 1]})
    assert from_memory(frame, "frame").content.to_pydict()["image"] == [str(Path("a/b.png")), None]


def test_objects_that_no_column_can_hold_are_remembered_by_their_type():
    frame = pd.DataFrame({"image": [object(), object()], "label": [0, 1]})
    assert objects_of(from_memory(frame, "frame")) == {"image": "object"}


def test_a_json_column_of_mixed_shapes_hinders_no_other(tmp_path):
    found = table_of(tmp_path / "a.jsonl", '{"text": "a", "meta": {"x": 1}}\n{"text": "b", "meta": 3}\n')
    assert found == {"text": ["a", "b"], "meta": [None, None]}


def test_an_arrow_table_is_taken_as_it_is():
    table = pa.table({"text": ["a"]})
    assert from_memory(table, "table").content is table


def test_other_objects_are_no_tables():
    assert from_memory([1, 2], "list") is None
