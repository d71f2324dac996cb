"""How good a search is at equal cost: simulated over tables of learning curves, without training.

usage: python -m benchmarks.search_efficiency --tables DIR [--history DIR] [--strategies a,b] [--seeds N] --out FILE

Four workers draw epochs from a table on a clock of their own. A suggestion is the nearest configuration of the table
that the search has not tried. The score is the normalised regret, (best of the table - best seen at any epoch) / (best
of the table - median of the last epochs), in [0, 1], after as many epochs over all trials as 4, 10, 20 and 40 full
trainings have. DIR/*.parquet are the tasks; those of --history are earlier searches, never of the task itself. FILE is
JSON: {strategy: {"regret": {"4": mean over tasks and seeds, ...}, "stderr": {...}, "ms_per_decision": processor time
per slot that was filled}}.
"""

import argparse
import heapq
import json
import math
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from autoft.strategies.experience import Experience
from benchmarks.curve_tables import CurveTable, read_tables
from benchmarks.past_tables import experience_of_tables
from benchmarks.search_contenders import CONTENDERS, WORKERS, Contender, Job

BUDGETS = (4, 10, 20, 40)
"""Full trainings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One search of one table."""

    regrets: tuple[float, ...]
    """After each of the budgets."""
    seconds: float
    """Processor time of the contender."""
    num_decisions: int
    """Slots that it filled."""


def race(table: CurveTable, contender: Contender, budgets: tuple[int, ...] = BUDGETS) -> Outcome:
    """Let a contender search a table until the largest budget is used."""
    flights: list[tuple[float, int, Job]] = []
    idle, clock, order, best, own, num_decisions = WORKERS, 0.0, 0, -math.inf, 0.0, 0
    trace: list[float] = []

    def begin(job: Job) -> None:
        nonlocal order
        order += 1
        heapq.heappush(flights, (clock + table.seconds[job.row, job.epoch - 1], order, job))

    while len(trace) < max(budgets) * table.num_epochs:
        while idle:
            began = time.process_time()
            job = contender.next()
            own += time.process_time() - began
            if job is None:
                break
            num_decisions += 1
            begin(job)
            idle -= 1
        if not flights:
            raise RuntimeError(f"On {table.name} nothing runs and nothing can start.")
        clock, _, job = heapq.heappop(flights)
        score = float(table.scores[job.row, job.epoch - 1])
        best = max(best, score)
        trace.append(best)
        began = time.process_time()
        goes_on = contender.report(job, score)
        own += time.process_time() - began
        if goes_on and job.epoch < table.num_epochs:
            begin(Job(trial=job.trial, row=job.row, epoch=job.epoch + 1))
        else:
            idle += 1
    regrets = tuple(table.regret(trace[budget * table.num_epochs - 1]) for budget in budgets)
    return Outcome(regrets=regrets, seconds=own, num_decisions=num_decisions)


def experience(tables: list[CurveTable]) -> Experience:
    """Return tables as earlier searches, each of all its rows, named by the table."""
    space = tables[0].space()
    return experience_of_tables(
        space,
        {table.name: (table.assignments(space), table.scores if table.maximize else -table.scores) for table in tables},
        maximize=tables[0].maximize,
    )


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Return means and standard errors over searches."""
    columns = list(zip(*(one.regrets for one in outcomes), strict=True))
    errors = [statistics.stdev(column) / math.sqrt(len(column)) if len(column) > 1 else 0.0 for column in columns]
    return {
        "regret": {str(budget): statistics.fmean(column) for budget, column in zip(BUDGETS, columns, strict=True)},
        "stderr": {str(budget): error for budget, error in zip(BUDGETS, errors, strict=True)},
        "ms_per_decision": 1e3 * sum(one.seconds for one in outcomes) / sum(one.num_decisions for one in outcomes),
    }


def main(arguments: list[str]) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.search_efficiency")
    parser.add_argument("--tables", type=Path, required=True, help="folder of one family's *.parquet")
    parser.add_argument("--history", type=Path, help="folder of tables of the same family to learn from")
    parser.add_argument("--strategies", default=",".join(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    names = given.strategies.split(",")
    if unknown := [name for name in names if name not in CONTENDERS]:
        parser.error(f"unknown strategy {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    tables = read_tables(given.tables)
    if not tables:
        parser.error(f"no *.parquet in {given.tables}")
    past = None if given.history is None else experience(read_tables(given.history))
    results: dict[str, object] = {}
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes = [
                race(table, CONTENDERS[name](table, seed, past)) for seed in range(given.seeds) for table in tables
            ]
        results[name] = summary(outcomes)
        given.out.write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
