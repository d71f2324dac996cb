"""How good predictions are: metrics, their intervals, the report of every class; without torch."""

from autoft.evaluation.counting import confusion, per_class
from autoft.evaluation.metrics import PREDICTION_METRICS, evaluate, report, standard_error, wilson, with_intervals

__all__ = [
    "PREDICTION_METRICS",
    "confusion",
    "evaluate",
    "per_class",
    "report",
    "standard_error",
    "wilson",
    "with_intervals",
]
