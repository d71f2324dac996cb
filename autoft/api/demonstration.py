"""A small real search on data and weights that come in packages."""

from dataclasses import dataclass
from pathlib import Path

from autoft.api.result import SearchResult
from autoft.api.searching import search
from autoft.core.cache import cache_folder
from autoft.core.configs import Budget
from autoft.core.errors import ConfigError, is_disk_full
from autoft.core.jsonable import Json
from autoft.core.progress import Listener, Progress
from autoft.core.storage import Store
from autoft.data import RunRows, packaged

KEEP_ALL = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """A finished demo."""

    result: SearchResult
    data: Path
    """The table that was searched on."""
    probe: str
    """The best frozen-feature probe."""
    probe_test: Json
    """Its metrics on the test split, each with `value`, `low` and `high`."""
    winner_test: Json
    """The winner's, likewise."""
    example: str
    """An input to predict on: a picture's path, or a text."""


def demo(*, text: bool = False, out: str | Path, listener: Listener | None = None) -> DemoResult:
    """Search on textile pictures, or movie-review snippets, and test the winner beside the best frozen probe.

    Args:
        text: Whether to take the texts.
        out: The run folder.
        listener: Called with a `Progress` after every event.

    Raises:
        DataError: If the demo's packages are not installed.
        ConfigError: If the cache folder cannot be written to.
    """
    data = _table(text=text)
    budget = Budget(trials=10, epochs=3)
    if text:
        space, example = "text-classification/quick", "A warm, funny and wise film."
    else:
        space = "image-classification/quick"
        example = str(sorted((packaged.textile_folder() / "local").iterdir())[0])
    result = search(
        data,
        space=space,
        budget=budget,
        searcher="tpe",
        scheduler="asha",
        target="label",
        out=out,
        keep=KEEP_ALL,
        listener=listener,
    )
    probes = [row for row in result.rows() if row["status"] == "probe" and row["rank"] is not None]
    probe = str(probes[0]["trial"])
    if listener is not None:
        listener(Progress(stage="testing the best frozen probe beside the winner"))
    return DemoResult(
        result=result,
        data=data,
        probe=probe,
        probe_test=_test(result, probe),
        winner_test=_test(result, result.best.id),
        example=example,
    )


def _table(*, text: bool) -> Path:
    """Write the table that is searched on into the cache folder, and return its path."""
    folder = cache_folder() / "demo"
    try:
        if text:
            return packaged.movie_review_table(folder / "movie-reviews.csv", num_rows=1000)
        return packaged.textile_table(folder / "textile.csv", per_class=200)
    except OSError as error:
        if is_disk_full(error):
            raise
        raise ConfigError(
            f"The demo's data cannot be written to '{folder}': {error.strerror}. Set AUTOFT_CACHE to a folder that may "
            "be written to."
        ) from error


def _test(result: SearchResult, trial: str) -> Json:
    from autoft.engine.trials import test_trial

    store = Store.open(result.folder)
    config = result.trial(trial).configuration
    rows = RunRows(store, result.search.fingerprint)
    metrics: Json = test_trial(config, trial=trial, rows=rows, store=store)["metrics"]
    return metrics
