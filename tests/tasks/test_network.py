import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoft.core import catalog
from autoft.tasks import LinearHead, Network, get_task, state_hash
from autoft.tasks.network import mlp_head


def head(seed=0, dropout=0.0, num_features=64, num_classes=5):
    return LinearHead(num_features, num_classes, dropout=dropout, generator=torch.Generator().manual_seed(seed))


def test_head_weights_are_normal_cut_at_two_deviations_and_biases_zero():
    weights = head(num_features=400, num_classes=50).linear.weight
    assert weights.abs().max() <= 0.04
    assert weights.std().item() == pytest.approx(0.0176, abs=3e-4)  # a normal cut at 2 deviations keeps 0.88 of its own
    assert head().linear.bias.tolist() == [0.0] * 5


def test_head_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = head(seed=3).linear.weight
    torch.manual_seed(2)
    assert torch.equal(first, head(seed=3).linear.weight)
    assert not torch.equal(first, head(seed=4).linear.weight)


def test_building_a_head_costs_no_draw_of_the_global_generator():
    before = torch.get_rng_state()
    head()
    assert torch.equal(before, torch.get_rng_state())


def test_head_drops_features_in_training_only():
    features = torch.ones(1000, 64)
    module = head(dropout=0.5)
    module.linear.weight.data.fill_(1 / 64)
    assert module.eval()(features).unique().tolist() == [1.0]
    assert module.train()(features).std() > 0.05


def mlp(seed=0, dropout=0.0, num_features=64, hidden_features=32):
    config = {"name": "mlp", "hidden_features": hidden_features, "dropout": dropout, "lr_multiplier": 1.0}
    return mlp_head(config, num_features, 5, torch.Generator().manual_seed(seed))


def test_mlp_head_has_one_hidden_layer_with_gelu():
    head, features = mlp(), torch.randn(3, 64)
    hidden = features @ head.hidden.weight.T + head.hidden.bias
    expected = nn.functional.gelu(hidden) @ head.linear.weight.T + head.linear.bias
    assert torch.allclose(head(features), expected, atol=1e-6)
    assert head.hidden.weight.shape == (32, 64)


def test_mlp_head_keeps_the_scale_of_features_and_starts_as_a_linear_one_does():
    head = mlp(num_features=800, hidden_features=400)
    assert head.hidden.weight.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.02)
    assert head.hidden.bias.abs().max() == 0
    assert head.linear.weight.abs().max() <= 0.04


def test_mlp_head_drops_before_its_last_layer_in_training_only():
    head, features = mlp(dropout=0.5), torch.ones(1, 64)
    assert torch.equal(head.eval()(features), head(features))
    head.train()
    assert len({tuple(head(features)[0].tolist()) for _ in range(5)}) == 5


def test_mlp_head_depends_on_the_seed_alone_and_costs_no_draw():
    before = torch.get_rng_state()
    first, second, other = mlp(seed=3), mlp(seed=3), mlp(seed=4)
    assert torch.equal(before, torch.get_rng_state())
    assert state_hash(first.state_dict()) == state_hash(second.state_dict()) != state_hash(other.state_dict())


@pytest.mark.parametrize("name", [entry.name for entry in catalog.entries("head")])
def test_every_head_of_the_catalog_is_built_from_its_section(name):
    config = {argument.name: argument.default for argument in catalog.entry("head", name).arguments}
    head = get_task("image-classification").build_head(8, 3, {"head": {"name": name, **config}}, seed=0)
    assert head(torch.randn(2, 8)).shape == (2, 3)
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_network_applies_the_head_to_the_features_of_all_inputs():
    class Sum(nn.Module):
        def forward(self, left, right):
            return left + right

    network = Network(Sum(), head())
    left, right = torch.randn(2, 64), torch.randn(2, 64)
    assert torch.equal(network.features(left, right), left + right)
    assert torch.equal(network(left, right), network.head(left + right))
    assert list(network.state_dict()) == ["head.linear.weight", "head.linear.bias"]


def test_hash_is_sha256_of_names_dtypes_shapes_and_bytes():
    state = {"b": torch.tensor([1, 2], dtype=torch.uint8), "a": torch.tensor(7, dtype=torch.uint8)}
    expected = hashlib.sha256(b"a\x1ftorch.uint8\x1f()\x1e\x07b\x1ftorch.uint8\x1f(2,)\x1e\x01\x02").hexdigest()
    assert state_hash(state) == expected


def test_hash_ignores_order_and_memory_layout():
    weights = torch.randn(2, 3, 4, 4)
    state = {"a": weights, "b": torch.zeros(2)}
    again = {"b": torch.zeros(2), "a": weights.to(memory_format=torch.channels_last)}
    assert state_hash(state) == state_hash(again)


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.tensor([0.0, 0.0, 0.0, -0.0])},
        {"a": torch.zeros(4), "b": torch.zeros(0)},
    ],
    ids=["name", "shape", "dtype", "bit", "empty"],
)
def test_hash_tells_apart(other):
    assert state_hash({"a": torch.zeros(4)}) != state_hash(other)


@given(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]))
def test_hash_takes_every_dtype(dtype):
    assert len(state_hash({"a": torch.ones(3, dtype=dtype), "b": torch.ones((), dtype=dtype)})) == 64
