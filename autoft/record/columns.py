"""Arrow columns as numpy arrays and back, without pandas: pyarrow's own conversions import it where it is installed."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def buffer_of(content: bytes) -> pa.Buffer:
    """Return bytes in memory of Arrow's own.

    Its threads may let go of what they have read from after the interpreter has begun to end; memory of Python's takes
    the interpreter for that, and the process aborts (pyarrow 26).
    """
    stream = pa.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()


def codes(column: "pa.ChunkedArray[Any]") -> tuple[NDArray[np.int64], list[str]]:
    """Return a text column without nulls as positions in the list of its distinct values, in order of appearance."""
    whole = _whole(column)
    if isinstance(whole, pa.DictionaryArray):
        # Its dictionary may hold values in any order, and others beside.
        encoded = whole.indices.dictionary_encode()
        values = whole.dictionary.take(encoded.dictionary)
    else:
        encoded = whole.dictionary_encode()
        values = encoded.dictionary
    return np.from_dlpack(encoded.indices).astype(np.int64), [str(value) for value in values.to_pylist()]


def valid(column: "pa.ChunkedArray[Any]") -> NDArray[np.bool_]:
    """Return which values are not null."""
    return np.from_dlpack(_whole(column).is_valid().cast(pa.int8())).astype(np.bool_)


def integers(column: "pa.ChunkedArray[Any]") -> NDArray[np.int64]:
    """Return a column of whole numbers without nulls."""
    return np.from_dlpack(_whole(column).cast(pa.int64())).astype(np.int64, copy=False)


def numbers(column: "pa.ChunkedArray[Any]") -> NDArray[np.float64]:
    """Return a column of numbers, NaN where it is null."""
    whole = _whole(column).cast(pa.float64())
    if not whole.null_count:
        return np.from_dlpack(whole).astype(np.float64, copy=False)
    buffer = whole.buffers()[1]
    end = whole.offset + len(whole)
    values = np.frombuffer(memoryview(b"" if buffer is None else buffer), dtype=np.float64, count=end)
    return np.where(valid(column), values[whole.offset :], np.nan)


def take(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """Return rows of a table by their positions."""
    buffer = pa.py_buffer(np.ascontiguousarray(rows, dtype=np.int64).tobytes())
    return table.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, buffer]))


def _whole(column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    """Return a column as one array."""
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
