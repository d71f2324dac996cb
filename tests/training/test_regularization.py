import math

import pytest
import torch
from torch import nn

from autoft.core.errors import ConfigError
from autoft.training.regularization import build_regularization, divergence, steepest

TARGETS = torch.tensor([0, 1])
IDS = torch.tensor([[0, 1, 2], [3, 4, 5]])


def loss(logits, targets):
    return nn.functional.cross_entropy(logits, targets)


def classifier(*, is_frozen=False):
    """Return embeddings, and a forward pass that sums tokens and features of these into a linear head."""
    torch.manual_seed(0)
    embeddings, head = nn.Embedding(6, 4), nn.Linear(4, 2)
    embeddings.weight.requires_grad_(not is_frozen)

    def forward(embed):
        states = embeddings(IDS)
        return head((states if embed is None else embed(states)).tanh().sum(dim=1))

    return embeddings, head, forward


def test_none_is_no_regularization():
    assert build_regularization({"name": "none"}) is None


def test_unknown_regularization_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'r_drop'"):
        build_regularization({"name": "r-drop"})


def test_r_drop_is_the_mean_loss_and_the_mean_divergence_of_two_passes():
    passes = [torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, 0.0]])]
    drawn = iter(passes)
    found = build_regularization({"name": "r_drop", "alpha": 0.7})(
        lambda embed: next(drawn), loss, torch.tensor([0]), 1.0
    )
    # p = (3/4, 1/4), q = (1/2, 1/2).
    there = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    back = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    expected = (math.log(4 / 3) + math.log(2)) / 2 + 0.7 * (there + back) / 2
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_divergence_is_torchs_in_both_directions():
    first, second = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    logs = first.log_softmax(1), second.log_softmax(1)
    there, back = (
        nn.functional.kl_div(one, other, log_target=True, reduction="batchmean") for one, other in (logs, logs[::-1])
    )
    assert divergence(first, second).item() == pytest.approx(((there + back) / 2).item(), rel=1e-5)
    assert divergence(first, first).item() == 0


def test_r_drop_of_pieces_is_that_of_all_rows_whatever_their_classes_weigh():
    passes = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    targets, weights = torch.tensor([0, 0, 0, 0, 0, 1, 2, 2]), torch.tensor([0.5, 3.0, 1.0])
    regularize = build_regularization({"name": "r_drop", "alpha": 2.0})

    def part_of(rows, scale):
        drawn = iter(passes[:, rows])

        def weighted(logits, targets):
            return nn.functional.cross_entropy(logits, targets, weight=weights)

        return regularize(lambda embed: next(drawn), weighted, targets[rows], scale)

    whole = part_of(slice(0, 8), 1.0)
    parts = 0.0
    for rows in (slice(0, 3), slice(3, 8)):
        part = weights[targets[rows]].sum() / weights[targets].sum()
        parts += part * part_of(rows, len(targets[rows]) / 8 / part)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)


def test_r_drop_takes_mixed_labels_and_its_gradient_reaches_both_passes():
    passes = [torch.randn(2, 2, requires_grad=True) for _ in range(2)]
    drawn = iter(passes)
    regularize = build_regularization({"name": "r_drop", "alpha": 1.0})
    regularize(lambda embed: next(drawn), loss, torch.tensor([[0.3, 0.7], [1.0, 0.0]]), 1.0).backward()
    assert all(one.grad.abs().sum() > 0 for one in passes)


def test_fgm_adds_the_loss_at_embeddings_moved_by_epsilon_along_each_rows_gradient():
    embeddings, _, forward = classifier()
    moved = {}

    def watched(embed):
        def watch(states):
            moved["from"], moved["to"] = states, embed(states)
            return moved["to"]

        return forward(watch)

    found = build_regularization({"name": "fgm", "epsilon": 0.5})(watched, loss, TARGETS, 1.0)
    move = moved["to"] - moved["from"]
    leaf = embeddings(IDS).detach().requires_grad_()
    loss(forward(lambda states: leaf), TARGETS).backward()
    slopes = leaf.grad.flatten(1)
    assert move.flatten(1).norm(dim=1).tolist() == pytest.approx([0.5, 0.5], rel=1e-5)
    assert torch.allclose(move.flatten(1), 0.5 * slopes / slopes.norm(dim=1, keepdim=True), atol=1e-6)
    adversarial = loss(forward(lambda states: states + move), TARGETS)
    assert found.item() == pytest.approx((loss(forward(None), TARGETS) + adversarial).item(), rel=1e-6)
    assert adversarial > loss(forward(None), TARGETS)


def test_fgms_move_is_a_constant_for_the_gradient():
    embeddings, head, forward = classifier()
    build_regularization({"name": "fgm", "epsilon": 0.5})(forward, loss, TARGETS, 1.0).backward()
    found = [embeddings.weight.grad.clone(), head.weight.grad.clone()]
    embeddings.zero_grad()
    head.zero_grad()
    leaf = embeddings(IDS).detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(forward(lambda states: leaf), TARGETS), leaf)
    move = steepest(slope, 0.5)
    (loss(forward(None), TARGETS) + loss(forward(lambda states: states + move), TARGETS)).backward()
    assert torch.allclose(found[0], embeddings.weight.grad, atol=1e-6)
    assert torch.allclose(found[1], head.weight.grad, atol=1e-6)


def test_fgm_leaves_no_gradient_before_backward_is_called():
    embeddings, head, forward = classifier()
    build_regularization({"name": "fgm", "epsilon": 0.5})(forward, loss, TARGETS, 1.0)
    assert embeddings.weight.grad is None
    assert head.weight.grad is None


def test_fgm_moves_frozen_embeddings_too():
    embeddings, head, forward = classifier(is_frozen=True)
    found = build_regularization({"name": "fgm", "epsilon": 0.5})(forward, loss, TARGETS, 1.0)
    found.backward()
    assert found > 2 * loss(forward(None), TARGETS)
    assert embeddings.weight.grad is None
    assert head.weight.grad.abs().sum() > 0


def test_fgm_without_embeddings_is_refused():
    head = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="fgm moves the embeddings"):
        build_regularization({"name": "fgm", "epsilon": 0.5})(lambda embed: head(torch.ones(2, 3)), loss, TARGETS, 1.0)


def test_a_gradient_of_nothing_moves_nothing_and_half_precision_stays():
    slope = torch.zeros(2, 3, 4, dtype=torch.bfloat16)
    slope[0, 1, 2] = 1e-30
    move = steepest(slope, 2.0)
    assert move.dtype == torch.bfloat16
    assert move[0].float().norm() == pytest.approx(2.0, rel=1e-2)
    assert (move[1] == 0).all()
