import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from autoft.core import catalog, recipe
from autoft.tasks import get_task
from autoft.tasks.losses import balanced_weights, effective_weights

NAMES = [entry.name for entry in catalog.entries("loss")]
SETTINGS = [(name, argument.name) for name in NAMES for argument in catalog.entry("loss", name).arguments]
CHANGED = {"label_smoothing": 0.3, "class_weights": "balanced", "gamma": 0.5, "beta": 0.5, "tau": 0.3}
COUNTS = [6, 3, 0, 1]
LOGITS = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 0, 0, 0, 1, 1, 3, 0])
THREE_TO_ONE = [math.log(3), 0.0]
"""Logits of the probabilities 3/4 and 1/4."""


def loss_of(name, class_counts=COUNTS, **settings):
    config = recipe.filled(recipe.BLOCKS["loss"], {"name": name, **settings}, None)
    return get_task("image-classification").build_loss({"loss": config}, class_counts)


def value(name, class_counts, logits, targets, **settings):
    return loss_of(name, class_counts, **settings)(torch.tensor(logits), torch.tensor(targets)).item()


def every_setting(name):
    """Return the settings of a loss with all of its arguments away from their defaults."""
    return {argument.name: CHANGED[argument.name] for argument in catalog.entry("loss", name).arguments}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_changed", [False, True], ids=["defaults", "changed"])
def test_a_label_and_its_one_hot_row_have_one_value_and_one_gradient(name, is_changed):
    loss, found = loss_of(name, **every_setting(name) if is_changed else {}), []
    for targets in (TARGETS, torch.nn.functional.one_hot(TARGETS, 4).float()):
        logits = LOGITS.clone().requires_grad_()
        result = loss(logits, targets)
        result.backward()
        found.append((result.item(), logits.grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_changed", [False, True], ids=["defaults", "changed"])
@given(st.floats(0, 1))
def test_a_mixed_label_is_between_its_parts(name, is_changed, share):
    # Of one row: with class weights a batch is divided by its weights, mixed ones too.
    loss = loss_of(name, **every_setting(name) if is_changed else {})
    one, other = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0, 1.0, 0, 0]])
    ends = loss(LOGITS[:1], one).item(), loss(LOGITS[:1], other).item()
    mixed = loss(LOGITS[:1], share * one + (1 - share) * other).item()
    assert min(ends) - 1e-5 <= mixed <= max(ends) + 1e-5


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_changes_the_loss(name, setting):
    argument = catalog.entry("loss", name).argument(setting)
    assert argument.problem(argument.default) is None
    assert argument.problem(CHANGED[setting]) is None
    changed = loss_of(name, **{setting: CHANGED[setting]})(LOGITS, TARGETS).item()
    assert changed != pytest.approx(loss_of(name)(LOGITS, TARGETS).item(), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "settings"), [("focal", {"gamma": 0}), ("class_balanced", {"beta": 0}), ("logit_adjusted", {"tau": 0})]
)
def test_at_nothing_it_is_the_cross_entropy(name, settings):
    for smoothing in (0.0, 0.2):
        loss = loss_of(name, [5, 2, 1, 1], **settings, label_smoothing=smoothing)(LOGITS, TARGETS).item()
        expected = loss_of("cross_entropy", label_smoothing=smoothing)(LOGITS, TARGETS).item()
        assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_extreme_logits_give_finite_losses_in_float32(name):
    for settings in ({}, every_setting(name)):
        for logits in (torch.zeros(1, 4, dtype=torch.bfloat16), torch.tensor([[200.0, 0, 0, -200]])):
            leaf = logits.requires_grad_()
            result = loss_of(name, **settings)(leaf, torch.tensor([0]))
            result.backward()
            assert result.dtype == torch.float32
            assert result.isfinite()
            assert leaf.grad.isfinite().all()


def test_cross_entropy_is_the_mean_negative_log_likelihood():
    found = value("cross_entropy", [1, 1], [[0.0, 0.0], THREE_TO_ONE], [0, 0])
    assert found == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, rel=1e-6)


def test_label_smoothing_spreads_over_all_classes():
    found = value("cross_entropy", [1, 1], [THREE_TO_ONE], [0], label_smoothing=0.2)
    assert found == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)), rel=1e-6)


def test_balanced_classes_count_the_same():
    # 3 rows of class 0 and 1 of class 1: weights 2/3 and 2.
    found = value("cross_entropy", [3, 1], [THREE_TO_ONE, [0.0, 0.0]], [0, 1], class_weights="balanced")
    assert found == pytest.approx((2 / 3 * math.log(4 / 3) + 2 * math.log(2)) / (2 / 3 + 2), rel=1e-6)


def test_weights_of_a_mixed_label_are_mixed():
    # Half of each: weights 1/3 and 1 on -log(3/4) and -log(1/4), over 4/3.
    found = value("cross_entropy", [3, 1], [THREE_TO_ONE], [[0.5, 0.5]], class_weights="balanced")
    assert found == pytest.approx((math.log(4 / 3) / 3 + math.log(4)) / (4 / 3), rel=1e-6)


def test_focal_multiplies_each_term_by_the_power_of_what_is_left():
    found = value("focal", [1, 1], [THREE_TO_ONE, [0.0, 0.0]], [0, 1], gamma=2.0)
    assert found == pytest.approx(((1 / 4) ** 2 * math.log(4 / 3) + (1 / 2) ** 2 * math.log(2)) / 2, rel=1e-6)
    mixed = value("focal", [1, 1], [THREE_TO_ONE], [[0.6, 0.4]], gamma=1.0)
    assert mixed == pytest.approx(0.6 / 4 * math.log(4 / 3) + 0.4 * 3 / 4 * math.log(4), rel=1e-6)


def test_focal_with_class_weights_is_a_weighted_mean():
    found = value("focal", [3, 1], [THREE_TO_ONE, [0.0, 0.0]], [0, 1], gamma=1.0, class_weights="balanced")
    assert found == pytest.approx((2 / 3 / 4 * math.log(4 / 3) + 2 / 2 * math.log(2)) / (2 / 3 + 2), rel=1e-6)


def test_class_balanced_weighs_by_the_effective_number_of_rows():
    # beta 1/2: 3 rows are 1 + 1/2 + 1/4 = 7/4, one is 1; weights in proportion to 4/7 and 1, with sum 2: 8/11, 14/11.
    assert effective_weights([3, 1], 0.5).tolist() == pytest.approx([8 / 11, 14 / 11], rel=1e-6)
    found = value("class_balanced", [3, 1], [THREE_TO_ONE, [0.0, 0.0]], [0, 1], beta=0.5)
    assert found == pytest.approx((8 / 11 * math.log(4 / 3) + 14 / 11 * math.log(2)) / 2, rel=1e-6)


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=9), st.floats(0, 0.99999))
def test_effective_weights_sum_to_the_number_of_classes_and_are_larger_for_fewer_rows(counts, beta):
    weights = effective_weights(counts, beta).tolist()
    assert sum(weights) == pytest.approx(len(counts), rel=1e-5)
    by_rows = [weight for _, weight in sorted(zip(counts, weights, strict=True), key=lambda pair: -pair[0])]
    assert by_rows == pytest.approx(sorted(weights), rel=1e-5)


def test_effective_weights_near_one_are_the_inverse_of_the_rows():
    ratio = effective_weights([10, 20], 0.99999)
    assert (ratio[0] / ratio[1]).item() == pytest.approx(2, rel=1e-3)


def test_a_class_without_rows_weighs_nothing_and_changes_no_other():
    assert balanced_weights([3, 0, 1]).tolist() == pytest.approx([2 / 3, 0, 2])
    assert effective_weights([3, 0, 1], 0.5).tolist() == pytest.approx([8 / 11, 0, 14 / 11])


def test_balanced_weights_are_scikit_learns():
    targets = np.repeat([0, 1, 2], [5, 1, 14])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert balanced_weights([5, 1, 14]).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_logit_adjusted_adds_the_logarithm_of_the_prior():
    # Odds of 3 to 1 by the logits and 3 to 1 by the prior: 9 to 1; with tau 1/2, 3 sqrt(3) to 1.
    assert value("logit_adjusted", [3, 1], [THREE_TO_ONE], [1], tau=1.0) == pytest.approx(math.log(10), rel=1e-6)
    half = value("logit_adjusted", [3, 1], [THREE_TO_ONE], [1], tau=0.5)
    assert half == pytest.approx(math.log(1 + 3 * math.sqrt(3)), rel=1e-6)


def test_a_class_without_rows_is_adjusted_as_one_with_a_single_row():
    found = value("logit_adjusted", [3, 0], [[0.0, 0.0]], [0], label_smoothing=0.2)
    assert found == pytest.approx(-(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)), rel=1e-6)
