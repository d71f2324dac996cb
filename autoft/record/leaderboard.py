"""The leaderboard: one row a trial, best first, and its text forms."""

import csv
import io
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoft.core.configs import SearchConfig
from autoft.core.errors import ConfigError, nearest, one_of
from autoft.core.jsonable import Json
from autoft.core.metrics import METRICS, TRANSFERABILITY, Objective, parse_objective
from autoft.record.curves import Curves, curves
from autoft.record.model import Record, TrialRow
from autoft.record.ranking import OUT, chosen_rows, leading, standing, standing_of, values_at, winner

__all__ = [
    "COSTS",
    "Form",
    "column_names",
    "footnotes",
    "format_rows",
    "leading",
    "marked",
    "rows",
    "short",
    "shown_status",
    "winner",
    "within_noise",
]

Form = Literal["csv", "json", "md"]
COSTS = ("parameters", "latency_ms", "peak_memory_mb")
"""The cost columns, in their order."""
MARK = "≈"
"""Before the rank of a trial within noise of the best, in the forms for a person."""
NOISE = "within_noise"
"""The column that says the same, of a search that confirms."""


def column_names(search: SearchConfig, parameter_columns: Sequence[str]) -> list[str]:
    """Return the leaderboard's columns, in order; `parameter_columns` are those of the space.

    A search for several metrics has one more, `front`: 1 for trials that no other dominates, see `pareto.fronts`. One
    that confirms has the mean of each metric over each finalist's seeds, their number, and, by one metric,
    `within_noise`, see `choosing`.
    """
    objectives = _quality(search)
    return [
        *("rank", "trial", "status"),
        *(("front",) if len(search.metrics) > 1 else ()),
        *(objective.column for objective in objectives),
        *(f"test_{objective.metric}" for objective in objectives),
        *((*_mean_columns(search), "seeds") if search.confirm else ()),
        *((NOISE,) if search.confirm and len(search.metrics) == 1 else ()),
        *("epochs", "seconds", *COSTS),
        *parameter_columns,
    ]


def rows(
    record: Record,
    search: SearchConfig,
    *,
    columns_of: Callable[[Json], Mapping[str, Any]],
    parameter_columns: Sequence[str],
    sort: str | None = None,
    top: int | None = None,
) -> list[Json]:
    """Return the leaderboard, best first; every row has every column, None where there is nothing to show.

    Metrics are those of the best epoch by the first objective; costs those of the last epoch that measured them. The
    last column, there once a probe has it, is the transferability score of its features (`logme`). Without a rank, and
    last: trials that confirm another, diverged or failed, break a limit, or have no finite value.

    Args:
        record: What has happened.
        search: Says the metrics.
        columns_of: The space's `columns`: from an assignment to parameter values by path.
        parameter_columns: The space's `column_names`.
        sort: Column to order by, the better end of a metric first, else ascending; None: by rank.
        top: So many rows at most.

    Raises:
        ConfigError: If `sort` is no column, or `top` is below 1.
    """
    objective = parse_objective(search.metrics[0])
    found = curves(record, ["seconds", *(item.column for item in _quality(search)), *COSTS, TRANSFERABILITY])
    has_score = bool(np.isfinite(found.values[TRANSFERABILITY]).any())
    names = [*column_names(search, parameter_columns), *([TRANSFERABILITY] if has_score else [])]
    _check(names, sort, top)
    best = chosen_rows(found, objective)
    measured = _measured(found, search, best)
    stands = standing(record, search, found)
    ranks = {index: rank for rank, index in enumerate(stands.order, start=1)}
    out = [index for index, row in enumerate(record.trials) if index not in ranks and row.status in OUT]
    others = [index for index, row in enumerate(record.trials) if index not in ranks and row.status not in OUT]
    repeats = [index for index in others if record.trials[index].confirms is not None]
    others = [index for index in others if record.trials[index].confirms is None]
    tests = _tests(record, search)
    table: list[Json] = []
    out.sort(key=lambda index: OUT.index(record.trials[index].status))
    for index in (*stands.order, *repeats, *out, *others):
        trial = record.trials[index]
        cells: Json = dict.fromkeys(names)
        cells |= {"rank": ranks.get(index), "trial": trial.trial, "status": shown_status(trial)}
        if len(search.metrics) > 1:
            cells["front"] = stands.fronts[index] or None
        if search.confirm and index in ranks and stands.noise is not None:
            cells[NOISE] = index in stands.near
        if search.confirm and index in stands.means:
            means = zip(_mean_columns(search), stands.means[index], strict=True)
            cells |= {name: mean if np.isfinite(mean) else None for name, mean in means}
            cells["seeds"] = stands.seeds[index]
        cells |= {name: column[index] for name, column in measured.items()}
        cells |= tests.get(trial.trial, {})
        cells |= {name: value for name, value in columns_of(trial.assignment).items() if name in cells}
        table.append(cells)
    if sort is not None:
        table = _sorted(table, sort, objective)
    return table[:top]


def footnotes(record: Record, search: SearchConfig) -> list[str]:
    """Return, in words, what the mark on a rank means, how the winner was chosen, and how sure its test figures are."""
    lines = []
    stands = standing_of(record, search)
    column = parse_objective(search.metrics[0]).column
    if stands.near:
        what = f"the best {_mean_columns(search)[0]}" if stands.means else f"the best {column}"
        lines.append(f"{MARK} is within noise of {what}: within its standard error, {stands.noise:.4f}.")
    if stands.means:
        lines.append(f"The winner is the finalist with the best mean over its seeds, {_mean_columns(search)[0]}.")
    elif stands.near:
        who = f"of the {search.num_finalists} leading trials within noise of the best"
        lines.append(f"The winner is, {who}, the smallest model, or of equals the better.")
    if record.test is not None:
        metrics = record.test["metrics"]
        for name in (f"test_{item.metric}" for item in _quality(search)):
            low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
            if low is not None and high is not None:
                lines.append(
                    f"{name} of {record.test['trial']} is, with 95 % confidence, from {low:.4f} to {high:.4f}."
                )
    return lines


def within_noise(record: Record, search: SearchConfig) -> tuple[str, ...]:
    """Return the trials within noise of the best, the best among them, in their order; none where it is alone."""
    stands = standing_of(record, search)
    return tuple(record.trials[index].trial for index in stands.order if index in stands.near)


def marked(table: Sequence[Mapping[str, Any]], near: Collection[str]) -> list[Json]:
    """Return rows for a person: the ranks of the trials in `near` carry a mark, in place of the column that says so."""
    shown = [{name: value for name, value in row.items() if name != NOISE} for row in table]
    for row in shown:
        if row["trial"] in near:
            row["rank"] = f"{MARK}{row['rank']}"
    return shown


def shown_status(trial: TrialRow) -> str:
    """Return the status that the leaderboard shows: a probe's is `probe`, unless it failed."""
    return "probe" if trial.kind == "probe" and trial.status not in OUT else trial.status


def format_rows(table: Sequence[Mapping[str, Any]], form: Form, columns: Sequence[str] | None = None) -> str:
    """Return the leaderboard as text: CSV or JSON with exact numbers, or Markdown with rounded ones.

    Args:
        table: The rows.
        form: Which form.
        columns: The columns to show, in order; None: those of the first row.

    Raises:
        ConfigError: If there is no such form.
    """
    names = list(columns if columns is not None else table[0] if table else ())
    match form:
        case "json":
            chosen = [{name: row[name] for name in names} for row in table]
            return json.dumps(chosen, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        case "csv":
            return _csv(table, names)
        case "md":
            cells = [[short(row[name], name).replace("|", r"\|") for name in names] for row in table]
            return "".join(f"| {' | '.join(line)} |\n" for line in (names, ["---"] * len(names), *cells))
    raise ConfigError(f"Unknown form '{form}' of the leaderboard. Allowed: {one_of(('csv', 'json', 'md'))}.")


def short(value: object, column: str = "") -> str:
    """Return a cell for a person: four digits that count, whole numbers with separators, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if column == "parameters" else str(value)
    if isinstance(value, float):
        return format(value, _form_of_floats(column))
    return str(value)


def _form_of_floats(column: str) -> str:
    if column == "seconds":
        return ".1f"
    if column == "mean_parameters":
        return ",.0f"
    is_cost = column.removeprefix("mean_") in COSTS
    return ".4f" if column.startswith(("val_", "test_", "mean_")) and not is_cost else ".4g"


def _mean_columns(search: SearchConfig) -> list[str]:
    return [f"mean_{parse_objective(name).metric}" for name in search.metrics]


def _quality(search: SearchConfig) -> list[Objective]:
    """Return the objectives that are measured on predictions: those with a `val_` and a `test_` column."""
    return [item for item in map(parse_objective, search.metrics) if not METRICS[item.metric].is_cost]


def _measured(found: Curves, search: SearchConfig, best: NDArray[np.int64]) -> dict[str, list[float | int | None]]:
    """Return the columns that come from the curves, a value a trial."""
    measured: dict[str, list[float | int | None]] = {}
    for item in _quality(search):
        measured[item.column] = _cells(values_at(found.values[item.column], best))
    measured["epochs"] = [int(epoch) for epoch in np.append(found.epoch, 0)[found.last_rows()]]
    measured["seconds"] = [round(seconds, 3) for seconds in found.sums("seconds").tolist()]
    for cost in COSTS:
        measured[cost] = _cells(values_at(found.values[cost], found.last_rows(cost)))
    scores = values_at(found.values[TRANSFERABILITY], found.last_rows(TRANSFERABILITY))
    measured |= {TRANSFERABILITY: _cells(scores)} if np.isfinite(scores).any() else {}
    measured["parameters"] = [None if value is None else int(value) for value in measured["parameters"]]
    return measured


def _cells(values: NDArray[np.float64]) -> list[float | int | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _tests(record: Record, search: SearchConfig) -> dict[str, Json]:
    """Return the test columns of the trial that was tested."""
    if record.test is None:
        return {}
    metrics = record.test["metrics"]
    cells = {}
    for item in _quality(search):
        value = metrics.get(item.metric, metrics.get(f"test_{item.metric}"))
        cells[f"test_{item.metric}"] = value.get("value") if isinstance(value, Mapping) else value
    return {record.test["trial"]: cells}


def _check(names: Sequence[str], sort: str | None, top: int | None) -> None:
    if sort is not None and sort not in names:
        raise ConfigError(f"Unknown column '{sort}' to sort by.{nearest(sort, names)} Allowed: {one_of(names)}.")
    if top is not None and top < 1:
        raise ConfigError(f"The number of rows to show must be above 0, not {top}.")


def _sorted(table: list[Json], column: str, objective: Objective) -> list[Json]:
    """Return the rows by one column, those without a value last; equals keep their order."""
    metric = column.removeprefix("val_").removeprefix("test_").removeprefix("mean_")
    if metric == objective.metric:
        descending = objective.maximize
    else:
        descending = metric == TRANSFERABILITY or (metric in METRICS and METRICS[metric].higher_is_better)
    with_value = [row for row in table if row[column] is not None]
    numbers = all(isinstance(row[column], int | float) for row in with_value)
    with_value.sort(key=lambda row: row[column] if numbers else str(row[column]), reverse=descending)
    return with_value + [row for row in table if row[column] is None]


def _csv(table: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in table)
    return text.getvalue()
