import dataclasses
from typing import Any

import numpy as np
import pytest
import yaml

from autoft.core.configs import Budget, Resources, TrialConfig
from autoft.core.errors import ConfigError, FormatError


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"cpus_per_trial": "2"}, "cpus_per_trial must be a number above 0, not '2'"),
        ({"cpus_per_trial": float("nan")}, "cpus_per_trial must be a number above 0"),
        ({"cpus_per_trial": float("inf")}, "cpus_per_trial must be a number above 0"),
        ({"gpus_per_trial": 1.5}, "gpus_per_trial must be 'auto', a share up to 1 or a whole number, not 1.5"),
        ({"gpus_per_trial": True}, "gpus_per_trial must be"),
        ({"concurrent": 2.0}, "concurrent must be a whole number above 0, not 2.0"),
        ({"concurrent": float("inf")}, "concurrent must be a whole number above 0"),
        ({"workers_per_trial": 0}, "workers_per_trial must be a whole number above 0, not 0"),
        ({"workers_per_trial": True}, "workers_per_trial must be a whole number above 0, not True"),
        (
            {"workers_per_trial": 2, "gpus_per_trial": 0.5},
            "Of several workers per trial each has a GPU of its own or none: gpus_per_trial must be .* not 0.5",
        ),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing must be true or false, not 1"),
        ({"hang_seconds": 0}, "hang_seconds must be a number above 0, not 0"),
    ],
)
def test_resources_that_cannot_be_had_anywhere_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Resources(**given)


def test_numbers_of_numpys_and_whole_floats_come_back_from_a_file() -> None:
    budget = Budget(trials=40.0, epochs=np.int64(3), seconds=np.float64(9.5), epochs_per_pass=np.float32(2))  # type: ignore[arg-type]
    resources = Resources(cpus_per_trial=np.float64(2), gpus_per_trial=np.float32(0.5), hang_seconds=np.int32(60))  # type: ignore[arg-type]
    for given, expected in (
        (budget, Budget(trials=40, epochs=3, seconds=9.5, epochs_per_pass=2)),
        (resources, Resources(cpus_per_trial=2.0, gpus_per_trial=0.5, hang_seconds=60)),
    ):
        text = yaml.safe_dump(dataclasses.asdict(given))
        assert yaml.safe_load(text) == dataclasses.asdict(expected)
        assert text == yaml.safe_dump(dataclasses.asdict(expected))


@pytest.mark.parametrize("gpus", ["auto", 0, 0.5, 1, 2, 4.0])
def test_shares_and_whole_numbers_of_gpus_are_taken(gpus: Any) -> None:
    assert Resources(gpus_per_trial=gpus).gpus_per_trial == gpus


@pytest.mark.parametrize("metrics", [5, "accuracy", [1], {"accuracy": 1}])
def test_metrics_that_are_no_names_are_damage(metrics: Any) -> None:
    with pytest.raises(FormatError, match="its metrics are no list of names"):
        TrialConfig.from_json({"format": 1, "metrics": metrics}, where="config.yaml")
