"""The points of a grid, in an order that the seed gives."""

from dataclasses import dataclass

import numpy as np

from autoft.core.errors import ConfigError
from autoft.core.seeds import generator
from autoft.strategies.base import History, Suggestion
from autoft.strategies.encoding import Encoding
from autoft.strategies.random import ATTEMPTS, draw, tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The searcher that tries the points of a grid: `points` values of each range, evenly through it, and all choices.

    They come in an order that the seed gives, since the first of a whole grid in its own order differ in the last
    parameter alone. When no new one is found the space is drawn from.
    """

    points: int = 3
    """Values of each range, in the middles of as many equal parts of it."""

    def __post_init__(self) -> None:
        if self.points < 1:
            raise ConfigError("grid: points must be at least 1.")

    def suggest(self, history: History, *, rungs: tuple[int, ...]) -> Suggestion:
        """Return a point of the grid that was not tried."""
        encoding = Encoding(history.space)
        rng = generator(history.seed, "decision", history.num_started, "grid")
        known = tried(history)
        for _ in range(ATTEMPTS):
            drawn_P = rng.random(len(encoding.parameters))
            on_grid_P = (np.floor(drawn_P * self.points) + 0.5) / self.points
            assignment = encoding.decode(np.where(encoding.is_choice_P, drawn_P, on_grid_P))
            if assignment not in known and history.space.forbids(assignment) is None:
                return Suggestion(assignment=assignment, reason=f"a point of the grid of {self.points} values a range")
        drawn, _ = draw(history)
        return Suggestion(assignment=drawn, reason="a random draw: the grid seems to hold no other point")
