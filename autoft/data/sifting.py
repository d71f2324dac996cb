"""Every row read once: its content's hash, or the reason why it is set aside."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from autoft.core.errors import DataError
from autoft.data.folders import spelled
from autoft.data.pictures import check_picture, is_picture_name, quiet_pillow
from autoft.data.rows import Part, Quarantined, Row

Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""

MAX_QUARANTINED = 0.1
"""A larger share of unreadable rows stops the search before it trains."""

_MOST_THREADS = 8
_REPORT_EVERY = 50
_AHEAD = 1000
"""Pictures handed to the pool at once; an interruption waits for no more than these."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The readable rows and the others."""

    rows: tuple[Row, ...]
    quarantine: tuple[Quarantined, ...]


def sift(parts: dict[str, Part], where: str, progress: Progress | None = None) -> Sifted:
    """Read every row of every part, pictures in a pool of threads, and set aside those that cannot be used.

    Raises:
        DataError: If more than a tenth of the rows, or all rows of one part, cannot be used.
    """
    total = sum(len(part.names) for part in parts.values())
    rows: list[Row] = []
    quarantine: list[Quarantined] = []
    done = 0
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    with quiet_pillow(), ThreadPoolExecutor(threads, thread_name_prefix="autoft-data") as pool:
        for split, part in parts.items():
            before = len(rows)
            for index, (sha256, reason) in enumerate(_checked(part, pool)):
                if reason:
                    quarantine.append(Quarantined(part.names[index], spelled(reason)))
                else:
                    rows.append(_row(part, split, index, sha256))
                done += 1
                if progress is not None and (done % _REPORT_EVERY == 0 or done == total):
                    progress(done, total)
            if len(rows) == before:
                _refuse_part(split, part, quarantine[-len(part.names) :], where)
    if len(quarantine) > MAX_QUARANTINED * total:
        raise DataError(
            f"{len(quarantine):,} of {total:,} rows of {where} cannot be used, more than {MAX_QUARANTINED:.0%}: "
            f"{_examples(quarantine)} Mend or remove them."
        )
    return Sifted(tuple(rows), tuple(quarantine))


def summary_of(quarantine: Iterable[Quarantined]) -> list[str]:
    """Return the reasons in words with their numbers, the commonest first: "3 x the text is empty"."""
    counts = Counter(_kind_of(one.reason) for one in quarantine)
    return [f"{count:,} x {reason}" for reason, count in counts.most_common()]


def _checked(part: Part, pool: ThreadPoolExecutor) -> Iterator[tuple[str, str | None]]:
    total = len(part.names)
    if part.inputs.kind == "text":
        yield from (_check(part, index) for index in range(total))
        return
    for start in range(0, total, _AHEAD):
        yield from pool.map(lambda index: _check(part, index), range(start, min(start + _AHEAD, total)))


def _check(part: Part, index: int) -> tuple[str, str | None]:
    """Return the content's SHA-256 and None, or anything and the reason."""
    if part.labels[index] is None:
        return "", part.no_label
    try:
        content = part.inputs.read(index)
    except DataError as error:
        return "", str(error)
    if isinstance(content, str):
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(), None
    problem = check_picture(content) or _unwritable(part, index)
    path = part.inputs.path(index)
    if problem and path is not None and not is_picture_name(path.name):
        problem = f"{problem}; its name, '{path.name}', is not like a picture's either"
    return hashlib.sha256(content).hexdigest(), problem


def _unwritable(part: Part, index: int) -> str | None:
    path = part.inputs.path(index)
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return "the name of its file is not UTF-8"
    return None


def _row(part: Part, split: str, index: int, sha256: str) -> Row:
    label = part.labels[index]
    group = part.groups[index] if part.groups is not None else None
    return Row(part.names[index], split, index, label or "", sha256, group)


def _refuse_part(split: str, part: Part, quarantine: list[Quarantined], where: str) -> None:
    reasons = _examples(quarantine) if quarantine else "it is empty."
    raise DataError(f"Not one of the {len(part.names):,} {split} rows of {where} can be used: {reasons}")


def _examples(quarantine: list[Quarantined]) -> str:
    shown = "; ".join(f"{one.row}: {one.reason}" for one in quarantine[:3])
    more = len(quarantine) - 3
    return f"{shown}; and {more:,} more." if more > 0 else f"{shown}."


def _kind_of(reason: str) -> str:
    """Return a reason without its particulars (file, decoder's message), so that equal kinds are counted together."""
    return re.sub(r" \(.*\)| '.*?'", "", reason).partition(";")[0]
