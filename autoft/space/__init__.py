"""The search space: its domains, its YAML, JSON and Python forms, its checks and its draws; without torch."""

from autoft.space.conditions import Condition, Path, Test, When
from autoft.space.domains import UNSET, Choice, Domain
from autoft.space.files import shipped_folder, shipped_spaces
from autoft.space.load import load_space
from autoft.space.normals import LogNormal, Normal
from autoft.space.plan import Assignment
from autoft.space.ranges import IntLogUniform, IntUniform, LogUniform, Uniform
from autoft.space.space import SearchSpace
from autoft.space.tree import Parameter

__all__ = [
    "UNSET",
    "Assignment",
    "Choice",
    "Condition",
    "Domain",
    "IntLogUniform",
    "IntUniform",
    "LogNormal",
    "LogUniform",
    "Normal",
    "Parameter",
    "Path",
    "SearchSpace",
    "Test",
    "Uniform",
    "When",
    "load_space",
    "shipped_folder",
    "shipped_spaces",
]
