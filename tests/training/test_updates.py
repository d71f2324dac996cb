"""Updates on classes of unlike size: the mean over an update is one mean, however its rows are cut into batches."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autoft.core.configs import DataSpec, TrialConfig
from autoft.core.jsonable import Json
from autoft.core.storage import Store
from autoft.data import Dataset, open_dataset, prepare
from autoft.training.worker import open_trial
from tests.conftest import COLOURS, write_pictures

PER_CLASS = (6, 10, 24)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """40 pictures in 3 classes, 24 of them to train on."""
    folder = tmp_path_factory.mktemp("uneven")
    pictures = write_pictures(folder / "pictures", per_class=max(PER_CLASS))
    for label, count in zip(COLOURS, PER_CLASS, strict=True):
        for path in sorted((pictures / label).iterdir())[count:]:
            path.unlink()
    return open_dataset(prepare(str(pictures), DataSpec(source=str(pictures)), out=folder / "data").path)


SGD: Json = {"name": "sgd", "lr": 1.0}
BALANCED: Json = {"name": "cross_entropy", "class_weights": "balanced"}
UNMIXED: Json = {"name": "cutmix", "probability": 1e-9}


@pytest.mark.parametrize(
    "sections",
    [
        {"optimizer": SGD, "loss": BALANCED},
        {"optimizer": SGD, "loss": {"name": "focal", "class_weights": "balanced"}},
        {"optimizer": SGD, "loss": BALANCED, "mixing": UNMIXED},
        {"optimizer": {"name": "sam", "base": SGD}, "loss": BALANCED},
    ],
)
def test_a_weighted_mean_goes_over_all_rows_of_accumulated_batches(
    make_config: Callable[..., TrialConfig], uneven: Dataset, tmp_path: Path, sections: Json
) -> None:
    found = []
    for batch_size, accumulation in ((12, 1), (4, 3)):
        config = make_config(
            finetune={"mode": "head"},
            augmentation={"name": "none"},
            epochs=1,
            clip_norm=None,
            batch_size=batch_size,
            accumulation=accumulation,
            **sections,
        ).replace(data={"fingerprint": uneven.fingerprint})
        result = open_trial(config, uneven, store=Store.open(tmp_path / str(batch_size))).run_epoch()
        found.append([result.metrics["train_loss"], result.metrics["val_loss"]])
    torch.testing.assert_close(torch.tensor(found[0]), torch.tensor(found[1]), rtol=1e-5, atol=1e-5)
