"""`autoft list`: every name that a configuration may use."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli import options, parsing
from autoft.cli.output import TableFormat, show
from autoft.core.errors import ConfigError, nearest
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.core.catalog import Entry, Kind

WHAT = (
    "augmentations",
    "averaging",
    "backbones",
    "finetune",
    "heads",
    "losses",
    "metrics",
    "mixing",
    "operations",
    "optimizers",
    "regularization",
    "resizing",
    "sampling",
    "schedulers",
    "schedules",
    "searchers",
    "spaces",
    "tasks",
)

_EXPENDABLE = (
    "one_size",
    "smallest",
    "multiple_of",
    "dropout",
    "attention_linears",
    "linears",
    "cls_token",
    "groups",
    "batch_norms",
    "accuracy_size",
    "pooled",
    "fixed_size",
    "drop_path",
    "features",
    "default_tag",
    "hub",
    "longest",
    "model_type",
    "source",
    "max_length",
    "tasks",
    "gmacs",
    "images_per_second",
    "input_size",
    "accuracy",
    "parameters",
    "input",
)
"""Columns that a narrow terminal leaves out first."""

_KINDS: "dict[str, Kind]" = {
    "augmentations": "augmentation",
    "averaging": "averaging",
    "backbones": "backbone",
    "finetune": "finetune",
    "heads": "head",
    "losses": "loss",
    "mixing": "mixing",
    "operations": "operation",
    "optimizers": "optimizer",
    "regularization": "regularization",
    "resizing": "resizing",
    "sampling": "sampling",
    "schedulers": "scheduler",
    "schedules": "schedule",
    "searchers": "searcher",
    "tasks": "task",
}


def list_(  # noqa: PLR0917 - typer makes options of them, by name
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", parser=parsing.choice(*WHAT), help=f"{', '.join(WHAT)}."),
    ],
    search: Annotated[
        str | None,
        typer.Option(
            "--search", metavar="TEXT", help="Those alone whose name or description holds TEXT.", show_default="all"
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Those alone that are for TASK.", show_default="all")
    ] = None,
    min_parameters: Annotated[
        float | None,
        typer.Option(parser=parsing.quantity, metavar="N", help="Backbones of at least so many.", show_default="all"),
    ] = None,
    max_parameters: Annotated[
        float | None,
        typer.Option(
            parser=parsing.quantity, metavar="N", help="Backbones of at most so many: 10M, 30e6.", show_default="all"
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column to sort by, the largest first; with a - before it the least. By accuracy, the pretrained "
            "tags of which one is published are listed.",
            show_default="the catalog's order",
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(parser=parsing.count, metavar="N", help="The first N alone.", show_default="all")
    ] = None,
    form: options.Format = "table",
) -> None:
    """List what there is."""
    limits = (min_parameters, max_parameters)
    if limits != (None, None) and what != "backbones":
        raise ConfigError(f"--min-parameters and --max-parameters are for backbones, not for {what}.")
    if what == "metrics":
        rows = _metrics()
    elif what == "spaces":
        rows = _spaces(task)
    else:
        rows = _entries(what, task, by=(sort or "").removeprefix("-"), limits=limits)
    if search is not None:
        rows = [row for row in rows if any(search.lower() in str(value).lower() for value in row.values())]
        if not rows:
            raise ConfigError(f"No {what} match '{search}'. `autoft list {what}` shows all.")
    _show(_sorted(rows, sort, what)[:top], form)


def _sorted(rows: list[Json], sort: str | None, what: str) -> list[Json]:
    """Return the rows by a column; those that have nothing there come last."""
    if sort is None:
        return rows
    name = sort.removeprefix("-")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if name not in columns:
        hint = f"{nearest(name, columns)} Columns: {', '.join(columns)}."
        raise ConfigError(f"--sort: {what} have no column '{name}'.{hint}")
    having = [row for row in rows if row.get(name) is not None]
    is_text = any(isinstance(row[name], str) for row in having)
    having.sort(key=lambda row: str(row[name]) if is_text else row[name], reverse=sort == name and not is_text)
    return having + [row for row in rows if row.get(name) is None]


def _show(rows: list[Json], form: TableFormat) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    show(rows, form, columns=columns, wrap=("description", "settings", "source"), expendable=_EXPENDABLE)


def _entries(
    what: str, task: str | None, *, by: str, limits: tuple[float | None, float | None] = (None, None)
) -> list[Json]:
    from autoft.core import catalog
    from autoft.core.entries import backbones

    if task is not None:
        catalog.entry("task", task, where="--task")
    entries = catalog.entries(_KINDS[what], task=task)
    if what == "backbones" and by == "accuracy":
        known = (backbones.entry(fact["name"]) for fact in backbones.published(["*"]) if by in fact)
        entries = (entry for entry in known if task is None or task in entry.tasks)
    low, high = limits
    if limits != (None, None):
        entries = (
            entry
            for entry in entries
            if (low or 0) <= entry.facts["parameters"] <= (float("inf") if high is None else high)
        )
    return [_row(entry) for entry in entries]


def _row(entry: "Entry") -> Json:
    row: Json = {"name": entry.name}
    if entry.kind == "backbone":
        row |= {name: value for name, value in entry.facts.items() if not isinstance(value, dict | list | tuple)}
    row["description"] = entry.description
    if entry.kind not in {"backbone", "task"}:
        row["settings"] = ", ".join(f"{argument.name}={_default(argument.default)}" for argument in entry.arguments)
    row["tasks"] = ", ".join(entry.tasks) if entry.tasks else "all"
    row["source"] = entry.source
    if entry.kind == "task":
        del row["tasks"]
        row |= {name: entry.facts[name] for name in ("metric", "space") if name in entry.facts}
    return row


def _default(value: object) -> str:
    return "null" if value is None else str(value)


def _metrics() -> list[Json]:
    from autoft.core.metrics import METRICS

    return [
        {
            "name": metric.name,
            "better": "higher" if metric.higher_is_better else "lower",
            "column": metric.column,
            "description": metric.description,
        }
        for metric in METRICS.values()
    ]


def _spaces(task: str | None) -> list[Json]:
    from autoft.space import load_space, shipped_spaces

    rows = []
    for name in shipped_spaces():
        space = load_space(name)
        if task is None or space.task == task:
            rows.append(
                {
                    "name": name,
                    "task": space.task,
                    "backbones": len(space.backbones()),
                    "parameters": len(space.parameters),
                    "trials": space.budget.trials,
                    "epochs": space.budget.epochs,
                    "description": space.description,
                }
            )
    return rows
