from collections.abc import Callable
from pathlib import Path

import pytest

from autoft.core.configs import TrialConfig
from autoft.core.errors import WeightsError
from autoft.core.storage import Store
from autoft.data import Dataset
from autoft.training.worker import open_trial


def test_a_trial_does_not_go_on_from_other_pretrained_weights_than_it_names(
    make_config: Callable[..., TrialConfig], colours: Dataset, tmp_path: Path
) -> None:
    filled = open_trial(make_config(), colours, store=Store.open(tmp_path / "first")).config
    assert open_trial(filled, colours, store=Store.open(tmp_path / "second")).config == filled
    other = filled.replace(weights={**filled.weights, "sha256": "0" * 64})
    with pytest.raises(WeightsError, match="are not those that the trial began with"):
        open_trial(other, colours, store=Store.open(tmp_path / "third"))
