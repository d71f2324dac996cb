"""How good configurations were in each of several searches, by one forest over all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Of shape (assignments, columns), as `strategies.encoding` gives them."""

NUM_TREES = 40
LEAF_ROWS = 5
SHRINK = 4.0
"""Rows of a leaf at which its own search counts as much as all searches together."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees that split the cube by what all searches say, whose leaves know each search by itself.

    The splits are those of extremely randomised trees on all trials together. In a leaf, a search's own mean is drawn
    toward that of all by `SHRINK`: where it tried nothing, it is taken to agree with the others.

    Reference: Geurts et al., Extremely Randomized Trees, Machine Learning 2006.
    """

    _feature: NDArray[np.int64]
    """Of every node of all trees, the axis that it splits; a leaf splits the first, at infinity."""
    _threshold: NDArray[np.float64]
    _left: NDArray[np.int64]
    _right: NDArray[np.int64]
    _roots: NDArray[np.int64]
    _depth: int
    _means: NDArray[np.float64]
    """Of shape (nodes, searches, losses of a trial)."""

    @classmethod
    def fitted(cls, points: Points, losses: NDArray[np.float64], search: NDArray[np.int64], num_searches: int) -> Any:
        """Return the forest of trials.

        Args:
            points: Of the trials.
            losses: Of shape (trials, losses of a trial), such as those after some epochs.
            search: The number of the search that each is of.
            num_searches: How many there are.
        """
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(
            NUM_TREES, min_samples_leaf=min(LEAF_ROWS, max(1, len(losses) // 10)), max_features=0.7, random_state=0
        ).fit(points.astype(np.float32), losses)
        trees = [one.tree_ for one in model.estimators_]
        starts = np.cumsum([0, *(tree.node_count for tree in trees)])
        nodes = np.arange(starts[-1])
        start = np.repeat(starts[:-1], [tree.node_count for tree in trees])
        is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0
        forest = cls(
            _feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])),
            _threshold=np.where(is_leaf, np.inf, np.concatenate([tree.threshold for tree in trees])),
            _left=np.where(is_leaf, nodes, start + np.concatenate([tree.children_left for tree in trees])),
            _right=np.where(is_leaf, nodes, start + np.concatenate([tree.children_right for tree in trees])),
            _roots=starts[:-1],
            _depth=max(tree.max_depth for tree in trees),
            _means=np.zeros((len(nodes), num_searches, losses.shape[1])),
        )
        forest._fill(points, losses, search)
        return forest

    def _fill(self, points: Points, losses: NDArray[np.float64], search: NDArray[np.int64]) -> None:
        num_nodes, num_searches, _ = self._means.shape
        leaves = self.leaves(points)
        cells = (leaves * num_searches + search[:, None]).ravel()
        shape = (num_nodes, num_searches)
        counts = np.bincount(cells, minlength=num_nodes * num_searches).reshape(shape)
        for column, column_losses in enumerate(losses.T):
            repeated = np.repeat(column_losses, leaves.shape[1])
            sums = np.bincount(cells, repeated, minlength=num_nodes * num_searches).reshape(shape)
            pooled = sums.sum(1, keepdims=True) / np.maximum(counts.sum(1, keepdims=True), 1)
            self._means[:, :, column] = (sums + SHRINK * pooled) / (counts + SHRINK)

    def leaves(self, points: Points) -> NDArray[np.int64]:
        """Return the leaf of each point in each tree, of shape (points, trees)."""
        # Trees were grown on 32 bits, and a point must fall where it fell then.
        values = points.astype(np.float32).astype(np.float64)
        rows = np.arange(len(values))[:, None]
        at = np.broadcast_to(self._roots, (len(values), len(self._roots))).copy()
        for _ in range(self._depth):
            goes_left = values[rows, self._feature[at]] <= self._threshold[at]
            below = np.where(goes_left, self._left[at], self._right[at])
            if np.array_equal(below, at):
                break
            at = below
        return at

    def losses(self, points: Points) -> NDArray[np.float64]:
        """Return what each search says of each point, of shape (points, searches, losses of a trial)."""
        leaves = self.leaves(points)
        found: NDArray[np.float64] = self._means[leaves].mean(1)
        return found
