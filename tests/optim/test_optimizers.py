import json
import math

import pytest
import safetensors.torch
import torch
from torch import nn

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.optim import (
    SAM,
    ParamGroup,
    build_optimizer,
    decay_groups,
    load_optimizer_state,
    optimizer_state,
    peak_lr,
    set_learning_rate,
)

OPTIMIZERS = [entry.name for entry in catalog.entries("optimizer")]
CHANGED = {
    "lr": 0.02,
    "weight_decay": 0.5,
    "decay_norms_and_biases": True,
    "beta1": 0.5,
    "beta2": 0.5,
    "beta3": 0.5,
    "eps": 0.1,
    "momentum": 0.5,
    "nesterov": False,
    "decay_rate": 0.4,
    "clip_threshold": 0.1,
    "ns_steps": 2,
    "adamw_lr_ratio": 0.5,
    "rho": 0.5,
    "adaptive": True,
    "base": {"name": "sgd"},
}
NEEDED = {"decay_norms_and_biases": {"weight_decay": 0.5}}
"""What a setting needs beside it to have an effect, as its description says."""
SETTINGS = [(entry.name, argument.name) for entry in catalog.entries("optimizer") for argument in entry.arguments]


def config(name, **changes):
    """All settings of an optimizer; of SAM, those that are its base's go to that."""
    entry = catalog.entry("optimizer", name)
    own = {argument.name: changes.pop(argument.name, argument.default) for argument in entry.arguments}
    if "base" in own:
        own["base"] = config(**own["base"], **changes)
        changes = {}
    assert not changes
    return {"name": name} | own


class Small(nn.Module):
    """A convolution, norms and linear layers, with the names of a backbone and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),  # a bias before a batch norm has no gradient
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 6, 3),
            nn.Flatten(),
            nn.Linear(24, 24),
            nn.LayerNorm(24),
        )
        self.head = nn.Linear(24, 3)

    def forward(self, images_BCHW):
        return self.head(self.backbone(images_BCHW).relu())


def network():
    torch.manual_seed(0)
    return Small()


def step(module, optimizer, images, targets):
    """Do one update as the loop does it, and return the loss before it."""

    def backward():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(images), targets)
        loss.backward()
        return loss.item()

    loss = backward()
    if isinstance(optimizer, SAM):
        with optimizer.perturbed():
            backward()
    optimizer.step()
    return loss


def steps(module, optimizer, count, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        step(module, optimizer, torch.randn(8, 3, 6, 6, generator=generator), torch.arange(8) % 3)
    return [parameter.detach().clone() for parameter in module.parameters()]


def trained(optimizer_config, count):
    module = network()
    return steps(module, build_optimizer(optimizer_config, decay_groups(module.named_parameters())), count)


def one(name, value, gradient, *, decay=True, count=1, **changes):
    """The value of one weight of a matrix of equal ones after `count` steps of the same gradient."""
    weight = nn.Parameter(torch.full((2, 2), value))
    optimizer = build_optimizer(config(name, **changes), [ParamGroup(name="all", parameters=(weight,), decay=decay)])
    for _ in range(count):
        weight.grad = torch.full((2, 2), gradient)
        optimizer.step()
    return weight[0, 0].item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_every_weight_tensor(name):
    before = list(network().parameters())
    after = trained(config(name), count=2)
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(new.isfinite().all() for new in after)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_every_setting_changes_the_weights(name, setting):
    # RAdam uses the second moment from its sixth step on.
    needed = NEEDED.get(setting, {})
    before = config(name, **needed)
    assert before[setting] != CHANGED[setting]
    after = config(name, **needed, **{setting: CHANGED[setting]})
    pairs = zip(trained(before, 8), trained(after, 8), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_goes_through_tensors_and_json_to_the_last_bit(name):
    module = network()
    optimizer = build_optimizer(config(name), decay_groups(module.named_parameters()))
    steps(module, optimizer, 3)
    tensors, rest = optimizer_state(optimizer)
    tensors = safetensors.torch.load(safetensors.torch.save(tensors))
    rest = json.loads(json.dumps(rest, allow_nan=False))
    again = network()
    again.load_state_dict(module.state_dict())
    resumed = build_optimizer(config(name), decay_groups(again.named_parameters()))
    load_optimizer_state(resumed, tensors, rest)
    expected, reached = steps(module, optimizer, 3, seed=1), steps(again, resumed, 3, seed=1)
    assert all(torch.equal(left, right) for left, right in zip(expected, reached, strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_of_a_group_is_the_recipes_times_its_scale(name):
    module = network()
    groups = decay_groups(module.named_parameters(), 0.25, name="body")
    settings = config(name, lr=0.008)
    optimizer = build_optimizer(settings, groups)
    assert peak_lr(settings) == 0.008
    assert {group["lr"] for group in optimizer.param_groups} == {0.002}
    names = ["body.muon", "body.adamw", "body.no_decay.adamw"] if name == "muon" else ["body", "body.no_decay"]
    assert [group["name"] for group in optimizer.param_groups] == names
    set_learning_rate(optimizer, 0.004)
    assert {group["lr"] for group in optimizer.param_groups} == {0.001}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_of_nothing_changes_no_weight(name):
    module = network()
    optimizer = build_optimizer(config(name), decay_groups(module.named_parameters()))
    set_learning_rate(optimizer, 0.0)
    assert all(
        torch.equal(old, new) for old, new in zip(network().parameters(), steps(module, optimizer, 2), strict=True)
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_norms_and_biases_decay_where_the_recipe_says_so_alone(name):
    def decays(**changes):
        module = network()
        optimizer = build_optimizer(config(name, weight_decay=0.5, **changes), decay_groups(module.named_parameters()))
        return [(group["decay"], group["weight_decay"]) for group in optimizer.param_groups]

    assert set(decays()) == {(True, 0.5), (False, 0.0)}
    assert set(decays(decay_norms_and_biases=True)) == {(True, 0.5), (False, 0.5)}
    assert one(name, 2.0, 0.0, decay=False, weight_decay=0.5) == 2.0
    assert one(name, 2.0, 0.0, decay=True, weight_decay=0.5) < 2.0
    assert one(name, 2.0, 0.0, decay=False, weight_decay=0.5, decay_norms_and_biases=True) < 2.0


def test_adamw_takes_exactly_this_step():
    # The first step of Adam is lr * g / (|g| + eps), after a decay by 1 - lr * weight_decay.
    value = one("adamw", 2.0, 0.3, lr=0.1, weight_decay=0.2, eps=0.1)
    assert value == pytest.approx(2 * (1 - 0.1 * 0.2) - 0.1 * 0.3 / 0.4, rel=1e-6)


def test_sgd_with_nesterov_momentum_takes_exactly_these_steps():
    # v1 = g, v2 = m g + g; a step is lr * (g + m v).
    value = one("sgd", 2.0, 0.5, count=2, lr=0.1, weight_decay=0.0, momentum=0.8)
    assert value == pytest.approx(2 - 0.1 * (0.5 + 0.8 * 0.5) - 0.1 * (0.5 + 0.8 * 0.9), rel=1e-6)


def test_sgd_without_nesterov_takes_exactly_these_steps():
    value = one("sgd", 2.0, 0.5, count=2, lr=0.1, weight_decay=0.0, momentum=0.8, nesterov=False)
    assert value == pytest.approx(2 - 0.1 * 0.5 - 0.1 * 0.9, rel=1e-6)


def test_sgd_without_momentum_is_plain_whatever_nesterov_says():
    assert one("sgd", 2.0, 0.5, count=2, lr=0.1, weight_decay=0.0, momentum=0.0) == pytest.approx(1.9, rel=1e-6)


def test_lion_steps_by_the_sign():
    assert one("lion", 2.0, -1e-6, lr=0.1, weight_decay=0.5) == pytest.approx(2 * (1 - 0.05) + 0.1, rel=1e-6)


def test_lamb_steps_in_proportion_to_the_weight_also_without_decay():
    # |w| / |step| is 2 with a step of 1 in all four entries.
    assert one("lamb", 2.0, 0.3, lr=0.1, weight_decay=0.0) == pytest.approx(2 - 0.1 * 2, rel=1e-4)
    assert one("lamb", 2.0, 0.3, lr=0.1, weight_decay=0.0, decay=False) == pytest.approx(2 - 0.1, rel=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_group_that_thaws_late_steps_as_in_an_optimizer_of_its_own(name):
    def made(*parameters):
        pairs = zip(("first", "late"), parameters, strict=False)
        groups = [ParamGroup(name=group, parameters=(parameter,), names=("",)) for group, parameter in pairs]
        return build_optimizer(config(name, weight_decay=0.5), groups)

    def stepped(optimizer, *parameters, count, seed):
        draws = torch.Generator().manual_seed(seed)
        for _ in range(count):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=draws)
            optimizer.step()

    first, late, alone = (nn.Parameter(torch.arange(1.0, 7.0).reshape(2, 3)) for _ in range(3))
    optimizer = made(first, late)
    stepped(optimizer, first, count=5, seed=0)
    assert torch.equal(late, alone)
    stepped(optimizer, late, count=8, seed=1)
    stepped(made(alone), alone, count=8, seed=1)
    assert torch.equal(late, alone)


@pytest.mark.parametrize("name", ["lamb", "adan"])
def test_the_first_step_of_a_bias_that_thaws_late_is_the_rate(name):
    first, late = (nn.Parameter(torch.full((2,), 2.0)) for _ in range(2))
    groups = [ParamGroup(name=f"{index}", parameters=(part,), decay=False) for index, part in enumerate((first, late))]
    optimizer = build_optimizer(config(name, lr=0.1), groups)
    for _ in range(1000):
        first.grad = torch.full((2,), 0.3)
        optimizer.step()
    late.grad = torch.full((2,), 0.3)
    optimizer.step()
    assert late[0].item() == pytest.approx(2 - 0.1, rel=1e-6)


def test_lamb_leaves_clipping_to_the_recipe():
    # timm's own clipping at a norm of 1 would give both the same moments.
    def moment(gradient):
        weight = nn.Parameter(torch.ones(1, 1))
        optimizer = build_optimizer(config("lamb"), [ParamGroup(name="all", parameters=(weight,))])
        weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        return optimizer.state[weight]["exp_avg"].item()

    assert moment(50.0) == pytest.approx(5 * moment(10.0))


def test_radam_is_plain_momentum_while_the_variance_is_unknown():
    assert one("radam", 2.0, 0.3, lr=0.1, weight_decay=0.0) == pytest.approx(2 - 0.1 * 0.3, rel=1e-6)


def test_adafactor_clips_the_root_mean_square_of_its_step():
    assert one("adafactor", 2.0, 50.0, lr=0.1, clip_threshold=0.5) == pytest.approx(2 - 0.1 * 0.5, rel=1e-6)


def test_fused_kernels_are_used_where_torch_has_them():
    module = network()
    assert build_optimizer(config("adamw"), decay_groups(module.named_parameters())).defaults["fused"]
    meta = nn.Linear(2, 2, device="meta")
    assert not build_optimizer(config("adamw"), decay_groups(meta.named_parameters())).defaults["fused"]


def test_unknown_optimizer_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Unknown optimizer 'adanw' at optimizer\.name\. Did you mean"):
        build_optimizer({"name": "adanw"}, [])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_default_is_within_its_bounds_and_learns_a_little(name):
    for argument in catalog.entry("optimizer", name).arguments:
        assert argument.problem(argument.default) is None
    module = network()
    optimizer = build_optimizer(config(name), decay_groups(module.named_parameters()))
    images, targets = torch.randn(12, 3, 6, 6), torch.arange(12) % 3
    losses = [step(module, optimizer, images, targets) for _ in range(30)]
    assert losses[-1] < losses[0] < math.inf
