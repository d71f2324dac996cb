"""Optimizers, their parameter groups and state, and schedules of the learning rate."""

from autoft.optim.groups import ParamGroup, decay_groups
from autoft.optim.optimizers import build_optimizer, peak_lr, set_learning_rate
from autoft.optim.sam import SAM
from autoft.optim.schedules import Schedule, build_schedule
from autoft.optim.state import load_optimizer_state, optimizer_state

__all__ = [
    "SAM",
    "ParamGroup",
    "Schedule",
    "build_optimizer",
    "build_schedule",
    "decay_groups",
    "load_optimizer_state",
    "optimizer_state",
    "peak_lr",
    "set_learning_rate",
]
