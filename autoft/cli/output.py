"""What is shown and where: results on stdout, all else on stderr; colour and tables only on a terminal."""

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

TableFormat = Literal["table", "csv", "json", "md"]
"""Forms of a table on stdout."""

_FOLDED = 18
"""Width that a column of prose has at least."""


def emit(text: str) -> None:
    """Write a result to stdout, with a newline at its end."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def emit_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout; on a terminal those that are too long are folded between words, further in."""
    if not on_terminal():
        emit("\n".join(lines))
        return
    width = shutil.get_terminal_size().columns
    for line in lines:
        further = " " * (len(line) - len(line.lstrip()) + 4)
        # What stands after a colon stays beside it.
        joined = line.replace(": ", ":\N{NO-BREAK SPACE}")
        folded = textwrap.wrap(joined, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
        emit("\n".join(folded).replace(":\N{NO-BREAK SPACE}", ": "))


def say(text: str) -> None:
    """Write a line for the person to stderr."""
    sys.stderr.write(f"{text}\n")


def on_terminal() -> bool:
    """Return whether results go to a terminal."""
    return sys.stdout.isatty()


def cell(value: Any, *, short: bool) -> str:
    """Return a value as a table shows it: all its digits, or four significant ones if `short`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:.4g}" if short else repr(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def print_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    columns: Sequence[str] | None = None,
    wrap: Collection[str] = (),
    expendable: Sequence[str] = (),
    shorten: Callable[[Any, str], str] | None = None,
    whole: str = "`| cat`",
) -> None:
    """Print rows as a table on stdout.

    On a terminal numbers are short, and the columns that do not fit are left out, which is said; elsewhere every
    column and every digit is there.

    Args:
        rows: The rows; a key that is missing is an empty cell.
        columns: Their order; None: as the first row has them.
        wrap: Columns of prose that are folded, on a terminal, rather than make the table too wide.
        expendable: Columns that a narrow terminal leaves out first, the first of them first of all.
        shorten: Makes a terminal's cell of a value and its column's name; None: four significant digits.
        whole: What shows every column, or what the person adds to the command for it.
    """
    names = list(columns if columns is not None else (rows[0] if rows else ()))
    if not on_terminal():
        texts = {name: [cell(row.get(name), short=False) for row in rows] for name in names}
        emit(_aligned(texts, rows))
        return
    from rich.console import Console

    console = Console(highlight=False)
    texts = {name: [_short(row.get(name), name, shorten) for row in rows] for name in names}
    shown = fitting(texts, console.width, wrap=wrap, expendable=expendable)
    console.print(_table({name: texts[name] for name in shown}, rows, wrap=wrap))
    if left := len(names) - len(shown):
        count = "1 more column does" if left == 1 else f"{left} more columns do"
        say(f"{count} not fit this terminal: {whole} shows all.")


def _short(value: Any, name: str, shorten: Callable[[Any, str], str] | None) -> str:
    return cell(value, short=True) if shorten is None else shorten(value, name)


def fitting(
    texts: Mapping[str, Sequence[str]],
    width: int,
    *,
    wrap: Collection[str] = (),
    expendable: Sequence[str] = (),
) -> list[str]:
    """Return the columns that fit into `width` characters, at least one: without the expendable, then from the left.

    Args:
        texts: Each column's cells.
        width: Of the terminal.
        wrap: Columns that may be folded.
        expendable: Columns to leave out first.
    """
    from rich.cells import cell_len

    needed = {}
    for name, cells in texts.items():
        widest = max([cell_len(name), *map(cell_len, cells)])
        needed[name] = (min(widest, _FOLDED) if name in wrap else widest) + 2
    for name in expendable:
        if sum(needed.values()) > width:
            needed.pop(name, None)
    while len(needed) > 1 and sum(needed.values()) > width:
        needed.popitem()
    return list(needed)


def _aligned(texts: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the cells as text in columns, each line a row, as wide as it takes."""
    from rich.cells import cell_len

    columns = []
    for name, cells in texts.items():
        lines = [" ".join(text.splitlines()) for text in (name, *cells)]
        lengths = list(map(cell_len, lines))
        widest = max(lengths)
        room = [" " * (widest - length) for length in lengths]
        right = _is_numeric(rows, name)
        columns.append([space + line if right else line + space for line, space in zip(lines, room, strict=True)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _table(texts: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Any]], *, wrap: Collection[str]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for name in texts:
        justify: Literal["left", "right"] = "right" if _is_numeric(rows, name) else "left"
        table.add_column(Text(name), justify=justify, no_wrap=name not in wrap, overflow="fold")
    for cells in zip(*texts.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = [row[name] for row in rows if row.get(name) is not None]
    return bool(values) and all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def format_table(rows: Sequence[Mapping[str, Any]], form: TableFormat, *, columns: Sequence[str]) -> str:
    """Return rows as CSV, JSON or Markdown.

    Raises:
        ValueError: If `form` is "table", which only `print_table` can fit to a terminal.
    """
    if form == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False, allow_nan=False)
    if form == "csv":
        return _csv(rows, columns)
    if form == "md":
        lines = [columns, ["---"] * len(columns)]
        lines += [[cell(row.get(name), short=False).replace("|", "\\|") for name in columns] for row in rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    raise ValueError(f"no text form: {form!r}")


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row.get(name), short=False) for name in columns] for row in rows)
    return text.getvalue()


def show(
    rows: Sequence[Mapping[str, Any]],
    form: TableFormat,
    *,
    columns: Sequence[str],
    wrap: Collection[str] = (),
    expendable: Sequence[str] = (),
) -> None:
    """Print rows on stdout in one of the four forms; `wrap` and `expendable` as in `print_table`."""
    if form == "table":
        print_table(rows, columns=columns, wrap=wrap, expendable=expendable, whole="--format csv")
    else:
        emit(format_table(rows, form, columns=columns))
