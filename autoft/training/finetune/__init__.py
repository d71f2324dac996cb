"""Fine-tuning modes: which parameters learn, from where, when, and at what share of the learning rate."""

from autoft.training.finetune.adapters import install_adapters, merge_adapters
from autoft.training.finetune.plans import Mode, Plan, plan
from autoft.training.finetune.train_mode import set_train_mode

__all__ = ["Mode", "Plan", "install_adapters", "merge_adapters", "plan", "set_train_mode"]
