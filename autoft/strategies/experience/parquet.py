"""An experience file: one small Parquet, one row a trial, with a format version; never a pickle."""

import io
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from autoft.core.configs import FORMAT, check_format, from_json
from autoft.core.errors import FormatError
from autoft.core.jsonable import Json, canonical_json
from autoft.record.columns import buffer_of
from autoft.strategies.experience.model import DataFacts, Experience, PastSearch, PastTrial, facts_to_json

SUFFIX: Final = ".parquet"
KIND: Final = "experience"
MAX_BYTES: Final = 256 << 20
_KEY: Final = b"autoft"
_SEARCH: Final = ("name", "task", "fingerprint", "objective", "epochs", "facts")
_COLUMNS: Final[dict[str, pa.DataType]] = {
    "name": pa.string(),
    "task": pa.string(),
    "fingerprint": pa.string(),
    "objective": pa.string(),
    "epochs": pa.int32(),
    "facts": pa.string(),
    "recipe": pa.string(),
    "losses": pa.list_(pa.float64()),
    "epoch_cost": pa.float64(),
    "seconds": pa.float64(),
}
SCHEMA: Final = pa.schema([pa.field(name, type_, nullable=False) for name, type_ in _COLUMNS.items()])


def to_bytes(experience: Experience, *, about: str = "") -> bytes:
    """Return the file's bytes; the same for equal experience and the same pyarrow.

    Args:
        experience: What it holds.
        about: Where that comes from, for people who look into the file's metadata.
    """
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for search in experience.searches:
        shared = [
            search.name,
            search.task,
            search.fingerprint,
            search.objective,
            search.epochs,
            canonical_json(facts_to_json(search.facts)),
        ]
        for trial in search.trials:
            own = [canonical_json(dict(trial.recipe)), list(trial.losses), trial.epoch_cost, trial.seconds]
            for name, value in zip(SCHEMA.names, [*shared, *own], strict=True):
                columns[name].append(value)
    head = {"format": FORMAT, "kind": KIND, "target": facts_to_json(experience.target)}
    head |= {"about": about} if about else {}
    table = pa.table(columns, schema=SCHEMA.with_metadata({_KEY: canonical_json(head).encode()}))
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
    return stream.getvalue()


def from_bytes(content: bytes, *, where: str) -> Experience:
    """Read the file's bytes.

    Raises:
        FormatError: If they are no experience, damaged, or of a newer format; names `where`.
    """
    table = _table(content, where)
    head = _head(table, where)
    if not table.schema.remove_metadata().equals(SCHEMA) or any(column.null_count for column in table.columns):
        raise FormatError(f"'{where}' is damaged: its columns are not those of an experience file.")
    searches: dict[str, tuple[Json, list[PastTrial]]] = {}
    for number, row in enumerate(table.to_pylist(), start=1):
        place = f"'{where}', row {number}"
        shared = {key: row[key] for key in _SEARCH}
        known, trials = searches.setdefault(row["name"], (shared, []))
        if known != shared:
            raise FormatError(f"{place} is damaged: it says of its search something else than the rows before it.")
        trials.append(_trial(row, place))
    found = [
        PastSearch(**{**shared, "facts": _facts(shared["facts"], f"'{where}'"), "trials": tuple(trials)})
        for shared, trials in searches.values()
    ]
    return Experience.of(found, target=from_json(DataFacts, head["target"], where=f"'{where}'"))


def _table(content: bytes, where: str) -> pa.Table:
    if len(content) > MAX_BYTES:
        raise FormatError(f"'{where}' is no experience file: it has more than {MAX_BYTES >> 20} MB.")
    try:
        table = pq.read_table(pa.BufferReader(buffer_of(content)), page_checksum_verification=True)
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FormatError(f"'{where}' is no experience file, or damaged: {' '.join(str(error).split())}") from error


def _head(table: pa.Table, where: str) -> Json:
    """Return what the file says of itself."""
    try:
        head = json.loads((table.schema.metadata or {})[_KEY])
    except (KeyError, ValueError):
        head = None
    if not isinstance(head, dict) or head.get("kind") != KIND:
        raise FormatError(
            f"'{where}' is no experience file: `autoft experience build RUN... --out FILE` makes one of searches."
        )
    check_format(head, where=f"'{where}'")
    if not isinstance(head.get("target"), dict):
        raise FormatError(f"'{where}' is damaged: it lacks the facts of its target.")
    return head


def _trial(row: Mapping[str, Any], place: str) -> PastTrial:
    recipe = _parsed(row["recipe"], place)
    losses = row["losses"]
    numbers = [*(loss for loss in losses if loss is not None), row["epoch_cost"], row["seconds"]]
    if not losses or not all(map(math.isfinite, numbers)) or min(numbers) < 0:
        raise FormatError(f"{place} is damaged: its losses and costs must be finite, and not below 0.")
    return PastTrial(recipe=recipe, losses=tuple(losses), epoch_cost=row["epoch_cost"], seconds=row["seconds"])


def _facts(text: str, place: str) -> DataFacts:
    facts = from_json(DataFacts, _parsed(text, place), where=place)
    numbers = (facts.rows, facts.classes, facts.imbalance, facts.input_size, facts.text_length)
    if not all(number is None or _is_number(number) for number in numbers):
        raise FormatError(f"{place} is damaged: the facts of its data are no numbers.")
    if not isinstance(facts.name, str | None):
        raise FormatError(f"{place} is damaged: the name of its data is no text.")
    if not isinstance(facts.probes, dict) or not all(map(_is_number, facts.probes.values())):
        raise FormatError(f"{place} is damaged: the probes of its data are no numbers.")
    return facts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parsed(text: str, place: str) -> Json:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{place} is damaged: {error}.") from error
    if not isinstance(values, dict):
        raise FormatError(f"{place} is damaged: it must hold a map, not {values!r}.")
    return values
