import pytest
import torch

from autoft.artifact.model import _device
from autoft.core.errors import ConfigError


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="Unknown device 'gpu'; give 'cpu' or 'cuda'"):
        _device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="torch sees no GPU here"):
        _device("cuda")


def test_the_processor_is_always_there() -> None:
    assert _device("cpu") == torch.device("cpu")
