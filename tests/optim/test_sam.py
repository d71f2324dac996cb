import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autoft.core import catalog
from autoft.optim import SAM, build_optimizer, decay_groups, load_optimizer_state, optimizer_state, set_learning_rate


def filled(name, **changes):
    entry = catalog.entry("optimizer", name)
    return {"name": name} | {argument.name: argument.default for argument in entry.arguments} | changes


def sam(module, *, base=None, **changes):
    config = filled("sam", **changes) | {"base": base or filled("sgd", lr=0.1, momentum=0.0, weight_decay=0.0)}
    return build_optimizer(config, decay_groups(module.named_parameters()))


def linear(weight, bias):
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([weight]))
        module.bias.fill_(bias)
    return module


def set_gradients(module, weight, bias):
    module.weight.grad = torch.tensor([weight])
    module.bias.grad = torch.tensor([bias])


def test_the_climb_goes_rho_along_the_gradient_of_all_weights():
    module = linear([1.0, 2.0], 3.0)
    optimizer = sam(module, rho=0.3)
    set_gradients(module, [2.0, 1.0], 2.0)  # of length 3
    with optimizer.perturbed():
        assert module.weight.grad is None
        assert module.bias.grad is None
        assert module.weight.tolist() == [pytest.approx([1.2, 2.1])]
        assert module.bias.item() == pytest.approx(3.2)


def test_the_adaptive_climb_is_scaled_by_the_size_of_the_weights():
    module = linear([1.99, -0.99], 3.0)  # T is 2, 1 and 1
    optimizer = sam(module, rho=0.9, adaptive=True)
    set_gradients(module, [1.0, 2.0], 1.0)  # T g = 2, 2, 1, of length 3; T^2 g = 4, 2, 1
    with optimizer.perturbed():
        assert module.weight.tolist() == [pytest.approx([1.99 + 1.2, -0.99 + 0.6])]
        assert module.bias.item() == pytest.approx(3.3)


@given(st.lists(st.floats(-(2**99), 2**99, width=32), min_size=3, max_size=3), st.floats(1e-3, 10))
def test_the_climb_is_taken_back_to_the_bit(values, rho):
    module = linear(values[:2], values[2])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    set_gradients(module, [0.3, -5.0], 1e-7)
    with sam(module, rho=rho).perturbed():
        pass
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_the_climb_is_taken_back_also_after_an_error():
    module = linear([0.1, 0.2], 0.3)
    set_gradients(module, [1.0, 1.0], 1.0)
    with pytest.raises(RuntimeError), sam(module).perturbed():
        raise RuntimeError
    assert torch.equal(module.weight, torch.tensor([[0.1, 0.2]]))


def test_the_step_is_the_bases_from_the_gradients_within_the_climb():
    module = linear([1.0, 2.0], 3.0)
    optimizer = sam(module)
    set_gradients(module, [1.0, 0.0], 0.0)
    with optimizer.perturbed():
        set_gradients(module, [5.0, -5.0], 0.0)
    optimizer.step()
    assert module.weight.tolist() == [pytest.approx([0.5, 2.5])]


@pytest.mark.parametrize("gradients", [None, 0.0])
def test_without_a_gradient_there_is_no_climb(gradients):
    module = linear([1.0, 2.0], 3.0)
    if gradients is not None:
        set_gradients(module, [gradients] * 2, gradients)
    with sam(module).perturbed():
        assert module.weight.tolist() == [[1.0, 2.0]]


def test_groups_and_state_are_the_bases_also_after_a_load():
    module = linear([1.0, 2.0], 3.0)
    optimizer = sam(module, base=filled("adamw", lr=0.1))
    set_gradients(module, [1.0, 1.0], 1.0)
    optimizer.step()
    again = sam(module, base=filled("adamw", lr=0.1))
    load_optimizer_state(again, *optimizer_state(optimizer))
    set_learning_rate(again, 0.0)
    before = module.weight.clone()
    set_gradients(module, [1.0, 1.0], 1.0)
    again.step()
    assert again.state[module.weight]["step"] == 2
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("name", catalog.entry("optimizer", "sam").argument("base").choices)
def test_every_other_optimizer_may_be_the_base(name):
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = sam(module, base=filled(name))
    assert isinstance(optimizer, SAM)
    for _ in range(2):
        module(torch.ones(1, 4)).sum().backward()
        with optimizer.perturbed():
            module(torch.ones(1, 4)).sum().backward()
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_sam_is_no_base_of_itself():
    argument = catalog.entry("optimizer", "sam").argument("base")
    names = [entry.name for entry in catalog.entries("optimizer")]
    assert list(argument.choices) == [name for name in names if name != "sam"]
    assert argument.problem({"name": "sam"}) is not None
