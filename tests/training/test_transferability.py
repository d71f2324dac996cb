import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from autoft.training.transferability import logme


def drawn(
    num_rows: int, num_features: int, num_classes: int, seed: int, *, signal: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return features, the first of which are noisy indicators of the classes, and targets with every class."""
    draws = torch.Generator().manual_seed(seed)
    targets = torch.arange(num_rows) % num_classes
    features = torch.randn(num_rows, num_features, generator=draws, dtype=torch.float64)
    shared = min(num_features, num_classes)
    features[:, :shared] += signal * torch.nn.functional.one_hot(targets, num_classes)[:, :shared]
    return features, targets


def log_evidence(features: Tensor, indicator: Tensor, alpha: float, beta: float) -> float:
    """Return log N(y; 0, I / beta + F F' / alpha), a row, by the covariance itself."""
    count = len(indicator)
    covariance = torch.eye(count, dtype=torch.float64) / beta + features @ features.T / alpha
    squares = indicator @ torch.linalg.solve(covariance, indicator)
    return float(-0.5 * (count * math.log(2 * math.pi) + torch.linalg.slogdet(covariance)[1] + squares) / count)


def indicators(targets: Tensor) -> list[Tensor]:
    return [(targets == label).double() for label in targets.unique()]


@pytest.mark.parametrize(("num_rows", "num_features"), [(60, 5), (30, 30), (24, 70)])
def test_it_is_the_evidence_at_the_precisions_where_that_is_greatest(num_rows: int, num_features: int) -> None:
    features, targets = drawn(num_rows, num_features, 3, seed=num_rows)
    greatest = []
    for indicator in indicators(targets):
        found = [
            minimize(
                lambda logs, y=indicator: -log_evidence(features, y, *np.exp(logs)),
                start,
                method="Nelder-Mead",
                tol=1e-9,
            )
            for start in ([0.0, 0.0], [4.0, 2.0], [2.0, 6.0])
        ]
        greatest.append(max(-one.fun for one in found))
    assert logme(features, targets) == pytest.approx(np.mean(greatest), abs=1e-7)


def test_the_papers_iteration_ends_there() -> None:
    features, targets = drawn(80, 6, 2, seed=1)
    ended = []
    for indicator in indicators(targets):
        alpha = beta = 1.0
        for _ in range(200):
            precision = alpha * torch.eye(6, dtype=torch.float64) + beta * features.T @ features
            mean = beta * torch.linalg.solve(precision, features.T @ indicator)
            gamma = float(6 - alpha * torch.linalg.inv(precision).trace())
            alpha = gamma / float(mean @ mean)
            beta = (80 - gamma) / float((features @ mean - indicator).square().sum())
        ended.append(log_evidence(features, indicator, alpha, beta))
    assert logme(features, targets) == pytest.approx(np.mean(ended), abs=1e-12)


SHAPES = st.tuples(st.integers(6, 30), st.integers(1, 40), st.integers(2, 4), st.integers(0, 999))


@given(shape=SHAPES, scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_turning_and_scaling_the_features_changes_nothing(shape: tuple[int, int, int, int], scale: float) -> None:
    features, targets = drawn(*shape)
    draws = torch.Generator().manual_seed(shape[3])
    turn, _ = torch.linalg.qr(torch.randn(shape[1], shape[1], generator=draws, dtype=torch.float64))
    assert logme(scale * features @ turn, targets) == pytest.approx(logme(features, targets), abs=1e-6)


@given(shape=SHAPES)
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_and_the_names_of_classes_change_nothing(shape: tuple[int, int, int, int]) -> None:
    features, targets = drawn(*shape)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(shape[3]))
    assert logme(features[order], 7 - 2 * targets[order]) == pytest.approx(logme(features, targets), abs=1e-6)


@given(shape=SHAPES)
@settings(max_examples=30, deadline=None)
def test_features_that_say_nothing_more_change_nothing(shape: tuple[int, int, int, int]) -> None:
    features, targets = drawn(*shape)
    wider = torch.cat([features, torch.zeros(len(features), 3, dtype=torch.float64)], 1)
    assert logme(wider, targets) == pytest.approx(logme(features, targets), abs=1e-6)


def test_features_that_tell_the_classes_apart_score_more() -> None:
    scores = [logme(*drawn(90, 8, 3, seed=5, signal=signal)) for signal in (0.0, 1.0, 3.0)]
    assert scores == sorted(scores)
    assert scores[2] - scores[0] > 0.3


def test_features_that_say_nothing_score_as_noise_of_the_indicators_own_size() -> None:
    targets = torch.tensor([0, 1, 0, 1, 1])
    noise = [-0.5 * (math.log(2 * math.pi * share) + 1) for share in (2 / 5, 3 / 5)]
    assert logme(torch.zeros(5, 3, dtype=torch.float64), targets) == pytest.approx(np.mean(noise), abs=1e-12)


def test_classes_that_features_explain_without_an_error_have_a_finite_score_above_all_others() -> None:
    targets = torch.arange(40) % 2
    exact = torch.nn.functional.one_hot(targets).double()
    score = logme(exact, targets)
    assert score is not None
    assert math.isfinite(score)
    assert score > 5 > (logme(exact + 0.01 * drawn(40, 2, 2, seed=0, signal=0)[0], targets) or 0)


def test_rows_of_one_class_have_none_and_neither_have_features_that_are_not_finite() -> None:
    features, _ = drawn(6, 3, 2, seed=0)
    assert logme(features, torch.full((6,), 2)) is None
    features[0, 0] = math.nan
    assert logme(features, torch.arange(6) % 2) is None
