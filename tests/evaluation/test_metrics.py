import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from autoft import evaluation
from autoft.core.errors import ConfigError
from autoft.core.metrics import METRICS
from autoft.evaluation import (
    PREDICTION_METRICS,
    confusion,
    evaluate,
    per_class,
    report,
    standard_error,
    wilson,
    with_intervals,
)

ALL = list(PREDICTION_METRICS)


def draws(seed: int, num_rows: int, num_classes: int, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return targets in which every class occurs, and probabilities somewhat better than chance."""
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(num_classes), random.integers(0, num_classes, num_rows - num_classes)])
    scores = random.random((num_rows, num_classes)) + 0.01
    scores[np.arange(num_rows), targets] += 0.3
    scores = np.round(scores, 1) + 0.1 if ties else scores
    return targets, scores / scores.sum(axis=1, keepdims=True)


def test_every_metric_of_predictions_is_computed():
    assert set(ALL) == {name for name, metric in METRICS.items() if not metric.is_cost}
    assert set(evaluate(ALL, *draws(0, 10, 3))) == set(ALL)


def test_four_rows_by_hand():
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]
    values = evaluate(ALL, [0, 0, 1, 1], probabilities)
    assert values["accuracy"] == 0.75
    assert values["balanced_accuracy"] == 0.75
    assert values["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2, rel=1e-15)
    assert values["f1_weighted"] == pytest.approx((2 / 3 + 4 / 5) / 2, rel=1e-15)
    assert values["roc_auc"] == 1.0
    assert values["log_loss"] == pytest.approx(-sum(map(math.log, (0.9, 0.4, 0.8, 0.7))) / 4, rel=1e-15)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), num_rows=st.integers(8, 60), num_classes=st.integers(2, 5), ties=st.booleans())
def test_the_metrics_are_those_of_scikit_learn(seed, num_rows, num_classes, ties):
    targets, probabilities = draws(seed, num_rows, num_classes, ties=ties)
    predictions = probabilities.argmax(axis=1)
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    wanted = {
        "accuracy": sk.accuracy_score(targets, predictions),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, predictions),
        "f1_macro": sk.f1_score(targets, predictions, average="macro"),
        "f1_weighted": sk.f1_score(targets, predictions, average="weighted"),
        "roc_auc": sk.roc_auc_score(targets, scores, multi_class="ovr"),
        "log_loss": sk.log_loss(targets, probabilities, labels=range(num_classes)),
    }
    assert evaluate(ALL, targets, probabilities) == pytest.approx(wanted, rel=1e-12)


def test_a_model_that_is_never_right_scores_zero():
    probabilities = np.eye(3)[[1, 2, 0, 1]]
    values = evaluate(["accuracy", "balanced_accuracy", "f1_macro", "f1_weighted"], [0, 1, 2, 0], probabilities)
    assert values == {"accuracy": 0.0, "balanced_accuracy": 0.0, "f1_macro": 0.0, "f1_weighted": 0.0}


def test_a_class_without_rows_counts_neither_for_recall_nor_for_roc():
    targets, probabilities = draws(1, 30, 3)
    kept = targets != 2
    values = evaluate(ALL, targets[kept], probabilities[kept])
    areas = [sk.roc_auc_score(targets[kept] == place, probabilities[kept, place]) for place in (0, 1)]
    assert values["roc_auc"] == pytest.approx(np.mean(areas), rel=1e-12)
    recalls = sk.recall_score(targets[kept], probabilities[kept].argmax(axis=1), average=None, labels=[0, 1])
    assert values["balanced_accuracy"] == pytest.approx(recalls.mean(), rel=1e-12)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_roc_auc_of_one_class_is_undefined(num_classes):
    probabilities = np.full((4, num_classes), 1 / num_classes)
    assert evaluate(["roc_auc", "accuracy"], [0, 0, 0, 0], probabilities) == {"roc_auc": None, "accuracy": 1.0}


def test_a_sure_mistake_is_a_finite_loss():
    assert evaluate(["log_loss"], [1], [[1.0, 0.0]])["log_loss"] == pytest.approx(-math.log(2**-52), rel=1e-15)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_probabilities_that_are_not_finite_have_no_metric(bad):
    assert evaluate(ALL, [0, 1], [[0.5, 0.5], [bad, 0.5]]) == dict.fromkeys(ALL, None)


def test_a_cost_metric_is_refused():
    with pytest.raises(ConfigError, match="'latency_ms' is no metric of predictions"):
        evaluate(["latency_ms"], [0, 1], np.eye(2))


def test_an_unknown_metric_gets_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'accuracy'"):
        evaluate(["acuracy"], [0, 1], np.eye(2))


@pytest.mark.parametrize(
    ("targets", "probabilities", "words"),
    [
        ([], np.empty((0, 2)), "no rows"),
        ([0], np.eye(2), "do not fit"),
        ([0, 2], np.eye(2), r"targets lie in \[0, 2\], not in \[0, 2\)"),
        ([-1, 0], np.eye(2), "targets lie in"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(targets, probabilities, words):
    with pytest.raises(ValueError, match=words):
        evaluate(["accuracy"], targets, probabilities)


@pytest.mark.parametrize(
    ("successes", "total", "bounds"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_is_as_in_newcombe_1998(successes, total, bounds):
    assert wilson(successes, total) == pytest.approx(bounds, abs=5e-5)


@pytest.mark.parametrize(("successes", "bounds"), [(0, (0.0, 0.27753279)), (10, (0.72246721, 1.0))])
def test_wilson_at_the_ends_stays_within_zero_and_one(successes, bounds):
    assert wilson(successes, 10) == pytest.approx(bounds, abs=1e-7)


def test_accuracy_has_wilsons_interval():
    targets, probabilities = draws(2, 50, 3)
    right = int((probabilities.argmax(axis=1) == targets).sum())
    found = with_intervals(["accuracy"], targets, probabilities, seed=0)["accuracy"]
    assert (found["low"], found["high"]) == wilson(right, 50)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), num_classes=st.integers(2, 4))
def test_a_value_lies_between_its_bounds(seed, num_classes):
    for found in with_intervals(ALL, *draws(seed, 80, num_classes), seed=seed).values():
        assert found["low"] <= found["value"] <= found["high"]


def test_the_bootstrap_is_that_of_resampled_rows():
    targets, probabilities = draws(3, 40, 3)
    random = np.random.default_rng(9)
    chosen = [random.integers(0, 40, 40) for _ in range(2000)]
    for name in ("f1_macro", "roc_auc", "log_loss"):
        values = [evaluate([name], targets[rows], probabilities[rows])[name] for rows in chosen]
        found = with_intervals([name], targets, probabilities, seed=0)[name]
        assert [found["low"], found["high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.02)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    data = draws(4, 40, 3)
    assert with_intervals(["f1_macro"], *data, seed=1) == with_intervals(["f1_macro"], *data, seed=1)
    assert with_intervals(["f1_macro"], *data, seed=1) != with_intervals(["f1_macro"], *data, seed=2)


def test_the_interval_does_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    data = draws(5, 30, 3)
    whole = with_intervals(ALL, *data, seed=0)
    monkeypatch.setattr(evaluation.metrics, "_CELLS_AT_ONCE", 30 * 7)
    parts = with_intervals(ALL, *data, seed=0)
    for name in ALL:
        assert parts[name] == pytest.approx(whole[name], rel=1e-12)


def test_of_many_rows_and_classes_fewer_resamples_are_drawn_and_every_chunk_gives_a_sign(monkeypatch):
    data = draws(5, 30, 3)
    drawn, beats = [], []
    resamples = evaluation.metrics._resamples

    def counted(num_rows, seed, count):
        drawn.append(count)
        return resamples(num_rows, seed, count)

    monkeypatch.setattr(evaluation.metrics, "_resamples", counted)
    monkeypatch.setattr(evaluation.metrics, "_CELLS_AT_ONCE", 30 * 50)
    for cells in (10**9, 30 * 3 * 150, 1):
        monkeypatch.setattr(evaluation.metrics, "_MOST_CELLS", cells)
        with_intervals(["roc_auc"], *data, seed=0, heartbeat=lambda: beats.append(None))
    assert drawn == [1000, 150, 100]
    assert len(beats) == 20 + 3 + 2


def test_an_undefined_metric_has_no_interval():
    found = with_intervals(["roc_auc"], [0, 0], [[0.9, 0.1], [0.8, 0.2]], seed=0)
    assert found == {"roc_auc": {"value": None, "low": None, "high": None}}


def test_the_confusion_matrix_has_right_classes_in_rows():
    assert confusion(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]


def test_each_class_is_reported():
    found = per_class(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ("cat", "dog", "emu"))
    assert found == {
        "cat": {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "support": 3},
        "dog": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        "emu": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
    }


def test_the_report_has_the_documented_form():
    targets, probabilities = draws(6, 20, 3)
    found = report(["accuracy", "log_loss"], targets, probabilities, ["a", "b", "c"], 0)
    assert list(found) == ["metrics", "per_class", "confusion", "num_rows"]
    assert list(found["metrics"]) == ["accuracy", "log_loss"]
    assert list(found["metrics"]["accuracy"]) == ["value", "low", "high"]
    assert list(found["per_class"]["b"]) == ["precision", "recall", "f1", "support"]
    assert found["confusion"]["labels"] == ["a", "b", "c"]
    assert sum(map(sum, found["confusion"]["counts"])) == found["num_rows"] == 20


def test_the_report_is_json():
    import json

    found = report(ALL, *draws(7, 20, 2), ["a", "b"], 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_labels_that_do_not_fit_the_probabilities_are_refused():
    with pytest.raises(ValueError, match="3 columns of probabilities for 2 labels"):
        report(["accuracy"], *draws(8, 9, 3), ["a", "b"], 0)


def test_the_standard_error_of_accuracy_is_that_of_a_share_with_two_right_and_two_wrong_rows_more():
    right = np.tile([[0.9, 0.1]], (16, 1))
    assert standard_error("accuracy", [0] * 12 + [1] * 4, right, seed=0) == pytest.approx((0.7 * 0.3 / 20) ** 0.5)
    assert standard_error("accuracy", [0] * 16, right, seed=0) == pytest.approx((0.9 * 0.1 / 20) ** 0.5)


def test_the_standard_error_of_log_loss_is_that_of_a_mean():
    probabilities = np.array([[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]])
    losses = -np.log([0.5, 0.8, 0.9])
    found = standard_error("log_loss", [0, 0, 1], probabilities, seed=0)
    assert found == pytest.approx(np.std(losses, ddof=1) / 3**0.5)
    assert standard_error("log_loss", [0], probabilities[:1], seed=0) is None


@pytest.mark.parametrize("name", ALL)
def test_standard_errors_are_about_a_quarter_of_the_intervals(name: str):
    targets, probabilities = draws(3, 400, 3)
    interval = with_intervals([name], targets, probabilities, seed=0)[name]
    error = standard_error(name, targets, probabilities, seed=0)
    assert error == pytest.approx((interval["high"] - interval["low"]) / (2 * 1.96), rel=0.3)
    assert standard_error(name, targets, probabilities, seed=0) == error


def test_an_undefined_metric_has_no_standard_error():
    assert standard_error("roc_auc", [0, 0], [[0.5, 0.5]] * 2, seed=0) is None
    assert standard_error("accuracy", [0], [[math.nan, 0.5]], seed=0) is None
