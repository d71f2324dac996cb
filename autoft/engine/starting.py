"""From a decision to start a trial to the configuration that it starts with."""

import dataclasses

from autoft.core.configs import SearchConfig, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.seeds import derive_seed
from autoft.strategies import Start


def first_config(search: SearchConfig, start: Start, *, trial: str, confirmed: Json | None) -> Json:
    """Return the configuration of a trial, as JSON, before a worker has filled it.

    Args:
        search: What was asked for.
        start: The decision.
        trial: The trial's name.
        confirmed: The configuration of the trial that it confirms, if it does: it is trained as long.
    """
    return TrialConfig(
        task=search.task,
        data={**dataclasses.asdict(search.data), "fingerprint": search.fingerprint},
        recipe=complete(start.recipe, task=search.task),
        epochs=_num_epochs(search, start) if confirmed is None else confirmed["epochs"],
        epochs_per_pass=1 if start.kind == "probe" else search.budget.epochs_per_pass,
        metrics=search.metrics,
        seed=derive_seed(search.seed, "trial", trial),
    ).to_json()


def _num_epochs(search: SearchConfig, start: Start) -> int:
    return 1 if start.kind == "probe" else int(search.budget.epochs or 1)
