from typing import Any

import pytest

from autoft.core.configs import Resources, TrialConfig
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


@pytest.mark.parametrize("gpus", ["auto", 0, 0.5, 1, 2, 4.0])
def test_shares_and_whole_numbers_of_gpus_are_taken(gpus: Any) -> None:
    assert Resources(gpus_per_trial=gpus).gpus_per_trial == gpus


@pytest.mark.parametrize("metrics", [5, "accuracy", [1], {"accuracy": 1}])
def test_metrics_that_are_no_names_are_damage(metrics: Any) -> None:
    with pytest.raises(FormatError, match="its metrics are no list of names"):
        TrialConfig.from_json({"format": 1, "metrics": metrics}, where="config.yaml")
