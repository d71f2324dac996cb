"""Data of any form to one dataset file, and pictures to pixels; without torch."""

from autoft.data.dataset import Dataset, open_dataset
from autoft.data.describing import describe
from autoft.data.labelled import read_evaluation_data
from autoft.data.pictures import check_picture, decode_picture, quiet_pillow
from autoft.data.prepare import Prepared, prepare
from autoft.data.rows import Quarantined
from autoft.data.run_rows import RunRows
from autoft.data.unlabelled import LazyInputs, read_inputs

__all__ = [
    "Dataset",
    "LazyInputs",
    "Prepared",
    "Quarantined",
    "RunRows",
    "check_picture",
    "decode_picture",
    "describe",
    "open_dataset",
    "prepare",
    "quiet_pillow",
    "read_evaluation_data",
    "read_inputs",
]
