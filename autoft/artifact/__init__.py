"""The winner of a search: written as a bundle, loaded without Ray, without network and without unpickling."""

from autoft.artifact.bundle import Bundle, read_bundle, write_bundle
from autoft.artifact.model import Model

__all__ = ["Bundle", "Model", "read_bundle", "write_bundle"]
