"""`reproduce`: train a configuration again and compare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoft import backbones
from autoft.api.data_request import fetched_sources
from autoft.api.folder import require_empty
from autoft.api.result import open_run
from autoft.core.configs import DataSpec, EpochResult, TrialConfig, from_json
from autoft.core.errors import ConfigError, FormatError
from autoft.core.jsonable import Json
from autoft.core.metrics import parse_objective
from autoft.core.progress import Listener, Progress
from autoft.core.storage import Store, parent
from autoft.core.typed import check_types
from autoft.data import open_dataset, prepare
from autoft.engine.machine import scratch_folder

MEASURED = ("latency_ms", "peak_memory_mb", "device_memory_mb")
"""Read off the clock or the machine: free to differ between equal runs."""
TOLERANCE = 0.05
"""Allowed difference of a metric where versions or hardware differ, and so the last digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reproduction:
    """A configuration trained again, beside what it had reported."""

    matches: bool
    exact: bool
    """Whether every digit had to be equal: same versions, same processor or GPU."""
    rows: list[Json]
    """`what`, `recorded`, `now`, `verdict` ("equal", "within tolerance" or "differs"), the data first."""
    notes: list[str]
    """What is not the same here: versions, hardware."""


def reproduce(
    config: str | Path,
    *,
    data: Any,
    val: Any = None,
    test: Any = None,
    trial: str | None = None,
    out: str | Path | None = None,
    listener: Listener | None = None,
) -> Reproduction:
    """Train a configuration again, as long as it was trained, and compare all that it reported.

    On the same versions and hardware every metric of every epoch and the weights' hash must be equal; elsewhere the
    metrics must agree within `TOLERANCE`, and `notes` says what differs.

    Args:
        config: A bundle's config.yaml or a run folder, also where an address names it.
        data: The data, in any form that `search` takes, an address among them; their fingerprint is compared first.
        val: The validation data, if the search was given its own; None: where the search found them.
        test: The test data, likewise.
        trial: A trial of the run folder; None: its best.
        out: A new folder to keep the retrained weights in.
        listener: Called with a `Progress` after every epoch.

    Raises:
        FormatError: If `config` is none, or of a newer format.
        DataError: If the data cannot be read.
        WorkError: If data at an address cannot be fetched.
    """
    recorded, reported, run = _read(config, trial)
    if not reported.get("epochs"):
        raise ConfigError(f"'{config}' has no `reported` block, so there is nothing to compare with.")
    if "fingerprint" not in recorded.data:
        raise FormatError(f"'{config}' does not say which data it was trained on: its data have no fingerprint.")
    if out is not None:
        require_empty(Store.open(out), out)
    with scratch_folder("autoft-again-") as scratch:
        spec = _spec(recorded, data)
        _say(listener, "reading the data")
        val, test = spec.val if val is None else val, spec.test if test is None else test
        here = fetched_sources(scratch, data=data, val=val, test=test)
        prepared = prepare(here["data"], spec, out=scratch, val=here["val"], test=here["test"])
        expected = recorded.data["fingerprint"]
        if prepared.fingerprint != expected:
            row = _row("data fingerprint", expected, prepared.fingerprint, "differs")
            return Reproduction(matches=False, exact=True, rows=[row], notes=["These are not the data of the search."])
        store = Store.open(out if out is not None else scratch / "checkpoints")
        with backbones.weights_of(run):
            changed = list(_compare_folder(run, recorded))
            return _train_and_compare(recorded, reported, prepared.path, store, listener, changed=changed)


def _train_and_compare(
    recorded: TrialConfig,
    reported: Json,
    dataset: Path,
    store: Store,
    listener: Listener | None,
    *,
    changed: Sequence[Json],
) -> Reproduction:
    from autoft.training.worker import here, run_trial

    rows = [
        _row("data fingerprint", recorded.data["fingerprint"], recorded.data["fingerprint"], "equal"),
        *(changed or _compare_pretrained(recorded)),
    ]
    if rows[-1]["verdict"] == "differs":
        note = "The pretrained weights are not those of the search, so nothing was trained."
        return Reproduction(matches=False, exact=True, rows=rows, notes=[note])
    column = parse_objective(recorded.metrics[0]).column
    epochs = [EpochResult.from_json(result, where="reported.epochs") for result in reported["epochs"]]
    results: list[EpochResult] = []

    def report(result: EpochResult) -> bool:
        results.append(result)
        old = epochs[len(results) - 1]
        line = f"epoch {result.epoch}: {column} {result.metrics.get(column)} (recorded {old.metrics.get(column)})"
        _say(listener, "training again", line)
        return len(results) < len(epochs)

    notes = _differences(recorded, here())
    run_trial(recorded, open_dataset(dataset), report, store=store)
    exact = not notes
    for old, new in zip(epochs, results, strict=False):
        rows += _compare_epoch(old, new, exact=exact)
    if len(results) != len(epochs):
        rows.append(_row("epochs trained", len(epochs), len(results), "differs"))
    return Reproduction(matches=all(row["verdict"] != "differs" for row in rows), exact=exact, rows=rows, notes=notes)


def _compare_folder(run: Store, recorded: TrialConfig) -> Iterator[Json]:
    """Yield a row for each file that is another than the search began with, of a folder that names the backbone."""
    name = str(recorded.recipe["backbone"]["name"])
    for file, before, now in backbones.folder_changes(run, name):
        yield _row(f"{file} of {name}", before, now, "differs")


def _compare_pretrained(recorded: TrialConfig) -> list[Json]:
    """Return the row of the pretrained weights; none where the configuration does not name them."""
    before = recorded.weights.get("sha256")
    if before is None:
        return []
    now = backbones.build(recorded.recipe["backbone"]).weights["sha256"]
    return [_row("pretrained weights", before, now, "equal" if now == before else "differs")]


def _compare_epoch(old: EpochResult, new: EpochResult, *, exact: bool) -> list[Json]:
    rows = []
    for name in old.metrics:
        if name in MEASURED:
            continue
        before, now = old.metrics[name], new.metrics.get(name)
        rows.append(_row(f"epoch {old.epoch} {name}", before, now, _verdict(before, now, exact=exact)))
    if old.weights_sha256 is not None and exact:
        same = old.weights_sha256 == new.weights_sha256
        rows.append(
            _row(f"epoch {old.epoch} weights", old.weights_sha256, new.weights_sha256, "equal" if same else "differs")
        )
    return rows


def _verdict(before: float | None, now: float | None, *, exact: bool) -> str:
    if before == now:
        return "equal"
    if exact or before is None or now is None:
        return "differs"
    return "within tolerance" if abs(before - now) <= TOLERANCE * max(1.0, abs(before)) else "differs"


def _differences(recorded: TrialConfig, now: Json) -> list[str]:
    notes = []
    for name, value in recorded.versions.items():
        if now["versions"].get(name) != value:
            notes.append(f"{name} was {value} and is {now['versions'].get(name)} here.")
    workers = recorded.execution.get("workers", 1)
    if workers > 1:
        notes.append(f"It was trained by {workers} workers together; here one trains the same batches.")
    device = recorded.execution.get("device")
    name = now["devices"].get(device)
    if name != recorded.execution.get("device_name"):
        notes.append(f"It was trained on {recorded.execution.get('device_name')}; here is {name}.")
    return notes


def _read(config: str | Path, trial: str | None) -> tuple[TrialConfig, Json, Store]:
    """Return a configuration, what it reported, and its run folder, which may have brought its weights along.

    That is the folder itself, or the one that the bundle lies in.
    """
    from autoft.artifact.bundle import parse_config

    store = Store.open(config)
    if store.exists("search.yaml"):
        result = open_run(config)
        chosen = result.trial(trial) if trial is not None else result.best
        return chosen.configuration, result.reported(chosen.id), store
    if trial is not None:
        raise ConfigError(f"--trial goes with a run folder, and '{config}' is none.")
    is_folder = store.size("config.yaml") is not None
    name = "config.yaml" if is_folder else ""
    if store.size(name) is None:
        raise FormatError(f"There is no configuration '{config}'; a search writes one to RUN/best/config.yaml.")
    bundle = store.uri if is_folder else parent(store.uri)
    return *parse_config(store.read(name).decode("utf-8", "replace"), where=str(config)), Store.open(parent(bundle))


def _spec(recorded: TrialConfig, data: Any) -> DataSpec:
    known = {k: v for k, v in recorded.data.items() if k in DataSpec.__dataclass_fields__}
    source = str(data) if isinstance(data, str | Path) else None
    check_types(DataSpec, known, where="data of the configuration")
    return from_json(DataSpec, {**known, "source": source}, where="data of the configuration")


def _row(what: str, recorded: Any, now: Any, verdict: str) -> Json:
    return {"what": what, "recorded": recorded, "now": now, "verdict": verdict}


def _say(listener: Listener | None, stage: str, line: str = "") -> None:
    if listener is not None:
        listener(Progress(stage=stage, line=line))
