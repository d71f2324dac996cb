"""`autoft predict` and `autoft evaluate`: a model at work."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autoft.cli import options, parsing
from autoft.cli.output import cell, emit, on_terminal, print_table, say
from autoft.cli.predictions import CHUNK, open_sink, sink_form
from autoft.core.errors import DataError, WorkError
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from autoft.artifact import Model
    from autoft.data.unlabelled import LazyInputs

SHOWN = 20
"""Inputs without a prediction that are named."""


def predict(
    bundle: options.Bundle,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders or tables; - reads stdin, one text a line."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write: .csv, .jsonl or .parquet.",
            show_default="CSV on stdout",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Predict the label and the probabilities of every input.

    An input that cannot be read is named, the others are predicted all the same; the exit code is 1 then.
    """
    form = sink_form(out)
    from autoft import api

    model = api.load(bundle)
    names, raw = model.read(inputs, stdin=sys.stdin or ())  # None where a caller has closed it
    unusable: list[str] = []
    with open_sink(out, form, model.labels) as write:
        for rows in _predicted(model, names, raw, unusable):
            write(rows)
    if out is not None:
        say(f"{len(names) - len(unusable)} predictions are in {out}.")
    if unusable:
        for reason in unusable[:SHOWN]:
            say(reason)
        more = f"; the first {SHOWN} are named above" if len(unusable) > SHOWN else ""
        raise WorkError(f"{len(unusable)} of {len(names)} inputs have no prediction{more}.")


def _predicted(
    model: "Model", names: "Sequence[str]", raw: "LazyInputs", unusable: list[str]
) -> "Iterator[list[Json]]":
    """Yield rows of input, label, probability and probabilities, a chunk at a time.

    Args:
        model: Predicts.
        names: Of the inputs.
        raw: The inputs.
        unusable: Gets a sentence for each input that cannot be read.

    Raises:
        DataError: If none of the inputs can be read.
    """
    for start in range(0, len(names), CHUNK):
        places: Sequence[int] = range(start, min(start + CHUNK, len(names)))
        try:
            probabilities = model.probabilities(raw.take(places))
        except DataError:
            reasons = model.why_unusable(raw.take(places))
            unusable += reasons.values()
            places = [place for place in places if place - start not in reasons]
            if len(unusable) == len(names):
                raise
            if not places:
                continue
            probabilities = model.probabilities(raw.take(places))
        rows = []
        for place, row in zip(places, probabilities, strict=True):
            name = names[place]
            best = int(row.argmax())
            by_label = dict(zip(model.labels, map(float, row), strict=True))
            rows.append(
                {
                    "input": name,
                    "label": model.labels[best],
                    "probability": float(row[best]),
                    "probabilities": by_label,
                }
            )
        yield rows


def evaluate(
    bundle: options.Bundle,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder of class folders, or a table with the model's target.")
    ],
    target: Annotated[
        str | None,
        options.valued("COL", "Column with the labels, for tables.", options.DATA, "the one of the training"),
    ] = None,
    form: Annotated[
        Literal["table", "json"],
        typer.Option(
            "--format",
            parser=parsing.choice("table", "json"),
            metavar="FORM",
            help="table or json.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "table",
) -> None:
    """Measure a model on data: metrics with 95 % intervals, per-class report, confusion matrix."""
    from autoft import api

    with warnings.catch_warnings(record=True) as caught:
        report = api.load(bundle).evaluate(data, target=target)
    for warning in caught:
        say(str(warning.message))
    if form == "json":
        import json

        emit(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print_report(report)


def _print_report(report: Json) -> None:
    short = on_terminal()
    metrics = [{"metric": name, **interval} for name, interval in report["metrics"].items()]
    print_table(metrics, columns=("metric", "value", "low", "high"))
    emit("")
    classes = [{"label": label, **figures} for label, figures in report["per_class"].items()]
    print_table(classes, columns=("label", "precision", "recall", "f1", "support"))
    emit("")
    labels = report["confusion"]["labels"]
    head = "true \\ predicted"
    counts = [
        {head: label, **dict(zip(labels, row, strict=True))}
        for label, row in zip(labels, report["confusion"]["counts"], strict=True)
    ]
    print_table(counts, columns=(head, *labels))
    emit(f"\n{cell(report['num_rows'], short=short)} rows")
