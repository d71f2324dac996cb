import pytest
import torch
from torch import nn

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.optim import ParamGroup, build_optimizer, decay_groups, set_learning_rate
from autoft.optim.muon import is_hidden_matrix, orthogonalised

SHAPES = {
    "backbone.blocks.0.attn.qkv.weight": (24, 8),
    "backbone.layer1.conv2.weight": (8, 4, 3, 3),
    "backbone.mlp_tokens.fc1.weight": (8, 8),
    "backbone.blocks.0.lora_A.weight": (4, 16),
}
"""What Muon is for."""
OTHERS = {
    "head.weight": (3, 24),
    "backbone.conv1.weight": (8, 3, 7, 7),
    "backbone.dwconv.weight": (8, 1, 3, 3),
    "backbone.patch_embed.proj.weight": (8, 4, 2, 2),
    "backbone.embeddings.word_embeddings.weight": (50, 8),
    "backbone.pos_embed": (1, 17, 8),
    "backbone.cls_token": (1, 1, 8),
    "backbone.attn.relative_position_bias_table": (9, 4),
    "backbone.ia3_l": (8, 1),
    "backbone.norm.weight": (8,),
    "backbone.scale": (),
}
"""What it leaves to AdamW."""


def config(name="muon", **changes):
    entry = catalog.entry("optimizer", name)
    return {"name": name} | {argument.name: argument.default for argument in entry.arguments} | changes


def stepped(optimizer_config, weights, gradients, *, count=1, names=()):
    """The weights after `count` steps of the same gradients."""
    parameters = tuple(nn.Parameter(weight.clone()) for weight in weights)
    optimizer = build_optimizer(optimizer_config, [ParamGroup(name="all", parameters=parameters, names=names)])
    for _ in range(count):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("name", SHAPES)
def test_matrices_and_convolutions_within_the_backbone_are_hidden_matrices(name):
    assert is_hidden_matrix(name, torch.empty(SHAPES[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_head_embeddings_first_layer_and_vectors_are_not(name):
    assert not is_hidden_matrix(name, torch.empty(OTHERS[name]))


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8)])
def test_the_singular_values_of_an_orthogonalised_matrix_are_near_one(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    near = orthogonalised(matrix, 5)
    values = torch.linalg.svdvals(near)
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert nn.functional.cosine_similarity(near.flatten(), (left @ right).flatten(), dim=0) > 0.95


def test_a_step_of_a_matrix_is_the_orthogonal_gradient_at_the_size_of_adamws():
    # U V^T has entries of root mean square sqrt(min / (M N)) = 1 / sqrt(max); 0.2 sqrt(max) makes 0.2 of it.
    torch.manual_seed(0)
    weight, gradient = torch.randn(6, 12), torch.randn(6, 12)
    (after,) = stepped(config(lr=0.1, weight_decay=0.5), [weight], [gradient])
    expected = weight * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 12**0.5 * orthogonalised(gradient, 5)
    assert torch.allclose(after, expected, atol=1e-6)
    (after,) = stepped(config(lr=1.0, weight_decay=0.0), [weight], [gradient])
    assert (after - weight).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.15)


def test_a_convolution_steps_as_the_matrix_of_its_flattened_kernels():
    torch.manual_seed(0)
    kernel, gradient = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3)
    (flat,) = stepped(config(), [kernel.flatten(1)], [gradient.flatten(1)], count=2)
    (after,) = stepped(config(), [kernel], [gradient], count=2)
    assert torch.equal(after, flat.reshape(6, 4, 3, 3))


def test_momentum_and_nesterov_take_exactly_these_steps():
    # m_1 = (1 - u) g_1; m_2 = u m_1 + (1 - u) g_2; Nesterov steps by u m + (1 - u) g.
    torch.manual_seed(0)
    first, second = torch.randn(5, 7), torch.randn(5, 7)
    m1 = 0.2 * first
    m2 = 0.8 * m1 + 0.2 * second
    for nesterov, directions in [(False, (m1, m2)), (True, (0.8 * m1 + 0.2 * first, 0.8 * m2 + 0.2 * second))]:
        weight = nn.Parameter(torch.zeros(5, 7))
        settings = config(lr=1.0, weight_decay=0.0, momentum=0.8, nesterov=nesterov)
        optimizer = build_optimizer(settings, [ParamGroup(name="all", parameters=(weight,))])
        for gradient in (first, second):
            weight.grad = gradient
            optimizer.step()
        expected = -0.2 * 7**0.5 * sum(orthogonalised(direction, 5) for direction in directions)
        assert torch.allclose(weight, expected, atol=1e-5)


def test_all_that_is_no_hidden_matrix_steps_as_with_adamw():
    torch.manual_seed(0)
    weights = [torch.randn(6, 6), torch.randn(3, 6), torch.randn(6)]
    gradients = [torch.randn_like(weight) for weight in weights]
    names = ("backbone.fc.weight", "head.weight", "head.bias")
    shared = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-3}
    ours = stepped(config(**shared, adamw_lr_ratio=0.5), weights, gradients, count=3, names=names)
    adamw = stepped(config("adamw", **shared | {"lr": 0.005}), weights, gradients, count=3, names=names)
    assert torch.equal(ours[1], adamw[1])
    assert torch.equal(ours[2], adamw[2])
    assert not torch.equal(ours[0], adamw[0])


def test_the_ratio_of_rates_survives_a_change_of_the_rate():
    module = nn.ModuleDict({"backbone": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
    optimizer = build_optimizer(config(adamw_lr_ratio=0.5), decay_groups(module.named_parameters(), 0.5))
    set_learning_rate(optimizer, 0.08)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"all.muon": 0.04, "all.adamw": 0.02, "all.no_decay.adamw": 0.02}


def test_a_trial_without_hidden_matrices_is_refused():
    head = nn.ModuleDict({"head": nn.Linear(4, 2)})
    with pytest.raises(ConfigError, match=r"optimizer\.name is muon.*none of them learns.*another optimizer"):
        build_optimizer(config(), decay_groups(head.named_parameters()))
