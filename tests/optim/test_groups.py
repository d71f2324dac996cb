import torch
from torch import nn

from autoft.optim import decay_groups


def names(groups, module):
    by_id = {id(parameter): name for name, parameter in module.named_parameters()}
    return {group.name: [by_id[id(parameter)] for parameter in group.parameters] for group in groups}


def test_norms_biases_and_scales_do_not_decay():
    module = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "linear": nn.Linear(4, 2)})
    module.scale = nn.Parameter(torch.ones(()))
    groups = decay_groups(module.named_parameters(), 0.5, name="body")
    assert names(groups, module) == {
        "body": ["conv.weight", "linear.weight"],
        "body.no_decay": ["scale", "conv.bias", "norm.weight", "norm.bias", "linear.bias"],
    }
    assert [(group.decay, group.lr_scale) for group in groups] == [(True, 0.5), (False, 0.5)]


def test_frozen_parameters_and_empty_groups_are_left_out():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert names(decay_groups(module.named_parameters()), module) == {"all": ["weight"]}
    module.weight.requires_grad_(False)
    assert decay_groups(module.named_parameters()) == []


def test_what_the_caller_names_does_not_decay():
    module = nn.ModuleDict({"embed": nn.Embedding(3, 4), "linear": nn.Linear(4, 2)})
    groups = decay_groups(module.named_parameters(), no_decay={"embed.weight"})
    assert names(groups, module) == {"all": ["linear.weight"], "all.no_decay": ["embed.weight", "linear.bias"]}


def test_a_group_knows_the_names_of_its_parameters():
    module = nn.ModuleDict({"norm": nn.LayerNorm(4), "linear": nn.Linear(4, 2)})
    groups = decay_groups(module.named_parameters())
    assert {group.name: list(group.names) for group in groups} == names(groups, module)
