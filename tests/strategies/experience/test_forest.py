import numpy as np
import pytest

from autoft.strategies.experience.forest import SHRINK, Forest


def made(num_searches: int = 2, rows: int = 400) -> tuple[Forest, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.random((rows, 3))
    search = rng.integers(num_searches, size=rows)
    losses = np.where(search == 0, points[:, 0], 1 - points[:, 0])
    columns = np.stack([losses, losses / 2], axis=1)
    return Forest.fitted(points, columns, search, num_searches), points, columns, search


def test_each_search_says_what_it_found_itself():
    forest, *_ = made()
    good, bad = forest.losses(np.array([[0.05, 0.5, 0.5], [0.95, 0.5, 0.5]]))[:, :, 0]
    assert good[0] < bad[0] - 0.2
    assert bad[1] < good[1] - 0.2


def test_a_point_falls_into_the_leaf_where_scikit_learn_puts_it():
    from sklearn.ensemble import ExtraTreesRegressor

    from autoft.strategies.experience.forest import LEAF_ROWS, NUM_TREES

    forest, points, losses, _ = made()
    model = ExtraTreesRegressor(NUM_TREES, min_samples_leaf=LEAF_ROWS, max_features=0.7, random_state=0)
    leaves = model.fit(points.astype(np.float32), losses).apply(points)
    starts = np.cumsum([0, *(one.tree_.node_count for one in model.estimators_[:-1])])
    assert (forest.leaves(points) == leaves + starts).all()


def test_where_a_search_tried_nothing_it_agrees_with_the_others():
    losses = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.5], [0.5, 0.5]])
    forest = Forest.fitted(np.zeros((4, 1)), losses, np.array([0, 0, 1, 1]), 3)
    assert forest.losses(np.zeros((1, 1)))[0, 2].tolist() == [0.375, 0.75]


def test_a_searchs_own_rows_count_against_all_as_stated():
    points = np.zeros((4, 1))
    losses = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    forest = Forest.fitted(points, losses, np.array([0, 0, 1, 1]), 2)
    first, second = forest.losses(np.zeros((1, 1)))[0].T
    assert first.tolist() == pytest.approx([SHRINK * 0.5 / (2 + SHRINK), (2 + SHRINK * 0.5) / (2 + SHRINK)])
    assert second.tolist() == [1.0, 1.0]


def test_no_point_has_no_loss():
    assert made()[0].losses(np.zeros((0, 3))).shape == (0, 2, 2)
