import csv
import io
import json

import pytest

from autoft.cli import output

ROWS = [
    {"rank": 1, "trial": "t0002", "val_accuracy": 0.8312345678901234, "optimizer.name": "adamw", "note": None},
    {"rank": 2, "trial": "t0001", "val_accuracy": 1e-05, "optimizer.name": "a|b", "note": "x" * 300},
]
COLUMNS = tuple(ROWS[0])


def test_a_table_in_a_pipe_has_every_digit_and_is_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(ROWS)
    captured = capsys.readouterr()
    assert "0.8312345678901234" in captured.out
    assert "x" * 300 in captured.out
    assert "\x1b" not in captured.out
    assert captured.err == ""
    assert [line.split()[0] for line in captured.out.splitlines()] == ["rank", "1", "2"]


def test_prose_in_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([{"trial": "t0001", "reason": "word " * 100}], wrap=("reason",))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([{"label": "optimizer[sgd].lr", "text": "[bold]x[/bold]"}])
    assert "optimizer[sgd].lr" in (out := capsys.readouterr().out)
    assert "[bold]x[/bold]" in out


def test_csv_holds_the_columns_in_order_and_every_digit() -> None:
    read = list(csv.reader(io.StringIO(output.format_table(ROWS, "csv", columns=COLUMNS))))
    assert read[0] == list(COLUMNS)
    assert read[1] == ["1", "t0002", "0.8312345678901234", "adamw", ""]


def test_json_is_the_rows() -> None:
    assert json.loads(output.format_table(ROWS, "json", columns=COLUMNS)) == ROWS


def test_a_bar_in_markdown_is_escaped() -> None:
    lines = output.format_table(ROWS, "md", columns=COLUMNS).splitlines()
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert "a\\|b" in lines[3]


@pytest.mark.parametrize(
    ("value", "short", "text"),
    [
        (0.123456, True, "0.1235"),
        (0.123456, False, "0.123456"),
        (None, True, ""),
        (True, True, "true"),
        (12, True, "12"),
        (123456789, True, "123456789"),
        (float("nan"), True, "nan"),
        ([1, 2], True, "[1, 2]"),
    ],
)
def test_a_cell_shows(value: object, short: bool, text: str) -> None:
    assert output.cell(value, short=short) == text


def test_a_line_break_in_a_columns_name_or_cell_is_a_space(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([{"a,\nb": "x\ny"}], columns=("a,\nb",))
    assert capsys.readouterr().out == "a, b\nx y\n"


def test_the_width_of_a_column_is_found_once_and_not_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []

    class Width(int):
        def __gt__(self, other: int) -> bool:
            compared.append(1)
            return int(self) > other

    monkeypatch.setattr("rich.cells.cell_len", lambda text: Width(len(text)))
    output.print_table([{"trial": f"t{number:04d}"} for number in range(50)])
    assert len(capsys.readouterr().out.splitlines()) == 51
    assert 0 < len(compared) <= 51
