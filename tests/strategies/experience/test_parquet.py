import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.core.errors import FormatError
from autoft.strategies.experience import DataFacts, Experience, from_bytes, past_search, to_bytes
from autoft.strategies.experience.parquet import SCHEMA
from tests.strategies.experience.pasts import experience

WHOLE = Experience.of(experience(1, 2).searches, target=DataFacts(rows=5, probes={"timm:resnet18": 0.25}))
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.floats(-1e9, 1e9)
VALUES = st.none() | st.floats(allow_nan=True, allow_infinity=True, min_value=None)


def changed(*, head: dict | None = None, **columns: list) -> bytes:
    table = pq.read_table(pa.BufferReader(to_bytes(WHOLE)))
    metadata = table.schema.metadata
    for name, values in columns.items():
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(name), [pa.array(values, table.schema.field(name).type)])
    if head is not None:
        metadata = {b"autoft": json.dumps({**json.loads(metadata[b"autoft"]), **head}).encode()}
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), stream)
    return stream.getvalue()


def test_a_file_gives_an_equal_experience_back():
    assert from_bytes(to_bytes(WHOLE), where="x.parquet") == WHOLE
    assert from_bytes(changed(), where="x.parquet") == WHOLE


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.dictionaries(st.text(max_size=5), SCALARS, max_size=3), st.lists(VALUES, max_size=4))),
    st.booleans(),
)
def test_whatever_a_search_saw_comes_back(trials, maximize):
    search = past_search(
        task="t",
        fingerprint="f",
        objective="accuracy",
        epochs=4,
        recipes=[recipe for recipe, _ in trials],
        curves=[curve for _, curve in trials],
        maximize=maximize,
    )
    whole = Experience.of([search])
    assert from_bytes(to_bytes(whole), where="x.parquet") == whole


def test_equal_experience_gives_equal_bytes():
    assert to_bytes(Experience.of(reversed(WHOLE.searches), target=WHOLE.target)) == to_bytes(WHOLE)


def test_the_columns_are_pinned():
    assert [(field.name, str(field.type)) for field in SCHEMA] == [
        ("name", "string"),
        ("task", "string"),
        ("fingerprint", "string"),
        ("objective", "string"),
        ("epochs", "int32"),
        ("facts", "string"),
        ("recipe", "string"),
        ("losses", "list<item: double>"),
        ("epoch_cost", "double"),
        ("seconds", "double"),
    ]
    assert not any(field.nullable for field in SCHEMA)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", to_bytes(WHOLE)[:-40]])
def test_what_is_no_parquet_file_is_refused_by_name(content):
    with pytest.raises(FormatError, match=r"^'x\.parquet' is no experience file, or damaged: "):
        from_bytes(content, where="x.parquet")


def test_a_parquet_file_of_something_else_is_refused():
    stream = io.BytesIO()
    pq.write_table(pa.table({"name": ["a"]}), stream)
    with pytest.raises(
        FormatError, match=r"is no experience file: `autoft experience build RUN\.\.\. --out FILE` makes"
    ):
        from_bytes(stream.getvalue(), where="x.parquet")


def test_a_newer_format_is_refused():
    with pytest.raises(FormatError, match=r"'x\.parquet' has format 99, this autoft reads up to 1"):
        from_bytes(changed(head={"format": 99}), where="x.parquet")


def test_other_columns_are_refused():
    table = pq.read_table(pa.BufferReader(to_bytes(WHOLE)))
    stream = io.BytesIO()
    pq.write_table(table.drop_columns(["seconds"]), stream)
    with pytest.raises(FormatError, match="its columns are not those of an experience file"):
        from_bytes(stream.getvalue(), where="x.parquet")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("losses", [float("nan")], "row 1 is damaged: its losses and costs must be finite, and not below 0"),
        ("losses", [], "row 1 is damaged: its losses and costs must be finite, and not below 0"),
        ("losses", [-0.5], "row 1 is damaged: its losses and costs must be finite, and not below 0"),
        ("seconds", float("inf"), "row 1 is damaged: its losses and costs must be finite, and not below 0"),
        ("recipe", "{", "row 1 is damaged: "),
        ("recipe", "[]", "row 1 is damaged: it must hold a map, not \\[\\]"),
        ("task", "another", "row 2 is damaged: it says of its search something else than the rows before it"),
    ],
)
def test_a_damaged_row_is_named(column, value, problem):
    values = pq.read_table(pa.BufferReader(to_bytes(WHOLE)))[column].to_pylist()
    with pytest.raises(FormatError, match=problem):
        from_bytes(changed(**{column: [value, *values[1:]]}), where="x.parquet")


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ('{"rows": "many"}', "the facts of its data are no numbers"),
        ('{"probes": {"a": NaN}}', "the probes of its data are no numbers"),
        ('{"colour": 1}', "Unknown key 'colour'"),
    ],
)
def test_damaged_facts_are_refused(facts, problem):
    with pytest.raises(FormatError, match=problem):
        from_bytes(changed(facts=[facts] * WHOLE.num_trials), where="x.parquet")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(to_bytes(WHOLE)) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_does_no_harm(place, bits):
    content = bytearray(to_bytes(WHOLE))
    content[place] ^= bits
    try:
        found = from_bytes(bytes(content), where="x.parquet")
    except FormatError:
        return
    assert all(0.0 <= trial.loss <= 1.0 for search in found.searches for trial in search.trials)
