"""autoft's trials under bare Ray Tune, as a person would put them there by hand."""

import json
import time
from dataclasses import dataclass
from typing import Any

from ray import tune

from autoft.core.configs import ExecutionPolicy, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.seeds import derive_seed
from autoft.core.storage import Store
from autoft.data import RunRows
from autoft.space import Choice, SearchSpace
from benchmarks.experience_sets import METRIC


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What all trials of a search share."""

    space: Json
    run: str
    """Whose rows they are."""
    fingerprint: str
    store: str
    """Folder of the checkpoints."""
    epochs: int
    seed: int
    began: float
    """Seconds since 1970."""

    @property
    def rows(self) -> RunRows:
        """What is trained on."""
        return RunRows(Store.open(self.run), self.fingerprint)

    def config(self, suggested: Json, trial: str) -> TrialConfig:
        """Return the configuration of what HyperOpt suggests; what the space forbids, it knows nothing of."""
        space = SearchSpace.from_json(self.space)
        recipe = space.recipe(space.active(values_of(suggested, space)))
        return TrialConfig(
            task=space.task,
            data={"fingerprint": self.fingerprint},
            recipe=complete(recipe, task=space.task),
            epochs=self.epochs,
            metrics=("accuracy",),
            seed=derive_seed(self.seed, "trial", trial),
        )


def values_of(suggested: Json, space: SearchSpace) -> Json:
    """Return values by label of what HyperOpt suggests in the form of `hyperopt_graph.expression`."""
    domains = {parameter.label: parameter.domain for parameter in space.parameters}
    found: Json = {}
    for label, given in suggested.items():
        domain = domains.get(label)
        if isinstance(domain, Choice):
            found[label] = domain.values[int(given["value"])]
            found |= values_of(given, space)
        elif domain is not None:
            found[label] = domain.at(float(given))
    return found


def trainable(setting: Setting) -> type[tune.Trainable]:
    """Return the class of a search's trials; a worker that has ended one goes on with the next, and stays warm."""

    class Trial(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: Json) -> None:
            self._warm: dict[str, Any] = {}
            self._open(config)

        def reset_config(self, new_config: Json) -> bool:
            self._open(new_config)
            return True

        def _open(self, config: Json) -> None:
            from autoft.engine import trials

            self._trial = trials.open_trial(
                setting.config(config, self.trial_id),
                rows=setting.rows,
                store=Store.open(setting.store).within(f"checkpoints/{self.trial_id}"),
                epochs_recorded=0,
                warm=self._warm,
                heartbeat=lambda: None,
                trace=None,
                policy=ExecutionPolicy(measures=True),
            )

        def step(self) -> Json:
            result = self._trial.run_epoch()
            value = result.metrics.get(METRIC)
            return {
                METRIC: 0.0 if value is None else value,
                "epoch": result.epoch,
                "at": time.time() - setting.began,
                "filled": None if result.config is None else json.dumps(result.config),
                "done": result.status != "running",
            }

        def save_checkpoint(self, checkpoint_dir: str) -> Json:
            return {}

        def load_checkpoint(self, checkpoint: Json | None) -> None:
            return None

    return Trial


class Watcher(tune.Callback):  # type: ignore[misc]
    """Keeps what trials report."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float, str]] = []
        """When, how good, and which trial."""
        self.configs: dict[str, Json] = {}
        """Those that workers filled, by trial."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Json, **info: Any) -> None:
        """Keep a report."""
        self.reports.append((result["at"], result[METRIC], trial.trial_id))
        if result["filled"] is not None:
            self.configs[trial.trial_id] = json.loads(result["filled"])
