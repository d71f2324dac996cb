"""Experience: what earlier searches found, mapped to the space at hand, as a portfolio and a prior.

`lessons.Lessons` maps it; it is not imported here, since the contract of strategies names what this module offers.
"""

from autoft.strategies.experience.model import DataFacts, Experience, PastSearch, PastTrial, flattened, past_search
from autoft.strategies.experience.parquet import from_bytes, to_bytes

__all__ = [
    "DataFacts",
    "Experience",
    "PastSearch",
    "PastTrial",
    "flattened",
    "from_bytes",
    "past_search",
    "to_bytes",
]
