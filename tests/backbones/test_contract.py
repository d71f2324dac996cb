"""What holds for every backbone, whatever library it comes from."""

import copy
import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from autoft import backbones
from autoft.backbones import Backbone
from autoft.backbones.checkpointing import checkpoint_gradients
from autoft.core import catalog
from autoft.core.jsonable import canonical_json

CNN_LAYERS = ["input", "layer1.0", "layer2.0", "layer3.0", "layer4.0"]
BERT_LAYERS = ["input", "encoder.layer.0", "encoder.layer.1"]


@dataclass(frozen=True)
class Case:
    """A kind of backbone, and what is known of it."""

    name: str
    """A catalog name, or a fixture's that makes the folder of an hf model."""
    settings: dict[str, Any]
    num_features: int
    groups: list[str] | int
    """Names, or how many."""


CASES = {
    "timm-cnn": Case(
        "timm:test_resnet",
        {"weights": "none", "input_size": 64},
        96,
        ["input", "layer1.0", "layer2.0", "layer3.0", "layer4.0"],
    ),
    "timm-vit": Case("timm:test_vit", {"weights": "none", "input_size": 96, "drop_path": 0.1}, 64, 7),
    "timm-vit-mean": Case("timm:test_vit", {"weights": "none", "input_size": 32, "pooling": "mean"}, 64, 7),
    "timm-cnn-attention": Case(
        "timm:mobilenetv3_small_050", {"weights": "none", "input_size": 32, "pooling": "attention"}, 1024, 14
    ),
    "timm-hybrid": Case("timm:test_maxvit", {"weights": "none"}, 128, 5),
    "timm-nfnet": Case("timm:test_nfnet", {"weights": "none", "drop_path": 0.2}, 192, 5),
    "timm-no-matcher": Case("timm:poolformer_s12", {"weights": "none", "input_size": 32}, 512, 16),
    "timm-hidden-head": Case("timm:mobilenetv3_small_050", {"weights": "none", "input_size": 32}, 1024, 14),
    "timm-packaged": Case("timm:tf_efficientnet_lite0", {"input_size": 64, "drop_path": 0.1}, 1280, 17),
    "hf-bert-mean": Case("bert_folder", {"max_length": 16}, 16, BERT_LAYERS),
    "hf-bert-cls": Case("bert_folder", {"max_length": 16, "pooling": "cls", "dropout": 0.3}, 16, BERT_LAYERS),
    "hf-bert-attention": Case("bert_folder", {"max_length": 16, "pooling": "attention"}, 16, BERT_LAYERS),
    "hf-roberta": Case("roberta_folder", {"max_length": 32}, 16, BERT_LAYERS),
    "hf-packaged": Case("hf:sentence-transformers/all-MiniLM-L6-v2", {"max_length": 64}, 384, 7),
    "hf-vit": Case("vit_folder", {"input_size": 48}, 16, 3),
    "hf-swin": Case("swin_folder", {"input_size": 32, "drop_path": 0.2}, 16, 5),
}

Built = tuple[Case, dict[str, Any], Backbone]


@pytest.fixture(params=CASES, scope="module")
def built(request: pytest.FixtureRequest) -> Built:
    case = CASES[request.param]
    name = case.name if ":" in case.name else f"hf:{request.getfixturevalue(case.name)}"
    config = {"name": name, **case.settings}
    return case, config, backbones.build(config)


def inputs_of(backbone: Backbone, *, num_rows: int = 3) -> tuple[Tensor, ...]:
    draws = torch.Generator().manual_seed(0)
    preprocessing = backbone.preprocessing
    if preprocessing["kind"] == "image":
        return (torch.randn(num_rows, 3, preprocessing["size"], preprocessing["size"], generator=draws),)
    ids = torch.randint(4, 10, (num_rows, 7), generator=draws)
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    return ids, mask


def test_inputs_become_one_vector_of_features_a_row(built: Built) -> None:
    case, _, backbone = built
    assert backbone.num_features == case.num_features
    with torch.no_grad():
        features = backbone.module(*inputs_of(backbone))
    assert features.shape == (3, case.num_features)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_every_parameter_is_in_exactly_one_layer_group_or_fresh(built: Built) -> None:
    _, _, backbone = built
    grouped = [id(parameter) for _, group in backbone.layer_groups for parameter in group]
    if backbone.pooling is not None:
        grouped += [id(parameter) for parameter in backbone.pooling.parameters()]
    assert sorted(grouped) == sorted(id(parameter) for parameter in backbone.module.parameters())


def test_layer_groups_have_names_of_their_own_in_depth_order(built: Built) -> None:
    case, _, backbone = built
    names = [name for name, _ in backbone.layer_groups]
    assert len(set(names)) == len(names)
    assert names == case.groups if isinstance(case.groups, list) else len(names) == case.groups


def test_every_parameter_gets_a_gradient(built: Built) -> None:
    _, _, backbone = built
    module = copy.deepcopy(backbone.module)
    module(*inputs_of(backbone)).square().sum().backward()
    # Keys shift all scores of a softmax alike: their bias has a gradient of zero, not none.
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


def test_a_bundle_makes_the_same_module_again(built: Built) -> None:
    _, _, backbone = built
    architecture = json.loads(json.dumps(backbone.architecture))
    again = backbones.rebuild(architecture)
    again.module.load_state_dict(backbone.module.state_dict())
    inputs = inputs_of(backbone)
    with torch.no_grad():
        assert torch.equal(again.module(*inputs), backbone.module(*inputs))
    assert again.num_features == backbone.num_features
    assert again.preprocessing == backbone.preprocessing
    assert again.architecture == architecture
    assert [(n, len(g)) for n, g in again.layer_groups] == [(n, len(g)) for n, g in backbone.layer_groups]


def test_a_rebuilt_module_trains_alike(built: Built) -> None:
    _, _, backbone = built
    again = backbones.rebuild(backbone.architecture)
    again.module.load_state_dict(backbone.module.state_dict())
    outputs = []
    for module in (again.module, copy.deepcopy(backbone.module)):
        torch.manual_seed(3)
        with torch.no_grad():
            outputs.append(module.train()(*inputs_of(backbone)))
    assert torch.equal(*outputs)


def test_preprocessing_has_what_the_inputs_need(built: Built) -> None:
    _, config, backbone = built
    keys = {"image": {"kind", "size", "mean", "std"}, "text": {"kind", "max_length", "tokenizer", "pad_id"}}
    assert set(backbone.preprocessing) == keys[backbone.preprocessing["kind"]]
    entry = catalog.entry("backbone", config["name"])
    assert entry.facts["input"] == backbone.preprocessing["kind"]
    canonical_json(backbone.preprocessing)


def test_the_same_section_gives_the_same_weights_and_draws_nothing(built: Built) -> None:
    _, config, backbone = built
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    again = backbones.build(config)
    assert torch.equal(torch.rand(2), expected)
    assert again.weights == backbone.weights
    states = (again.module.state_dict(), backbone.module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_a_copy_keeps_its_groups_on_its_own_parameters(built: Built) -> None:
    _, _, backbone = built
    copied = copy.deepcopy(backbone)
    own = {id(parameter) for parameter in copied.module.parameters()}
    parts = [part for part in (copied.pooling, copied.embeddings) if part is not None]
    assert all(part in list(copied.module.modules()) for part in parts)
    fresh = {id(parameter) for parameter in copied.pooling.parameters()} if copied.pooling is not None else set()
    assert {id(parameter) for _, group in copied.layer_groups for parameter in group} == own - fresh


def test_what_must_not_decay_is_named_as_in_the_module(built: Built) -> None:
    _, _, backbone = built
    assert backbone.no_decay <= {name for name, _ in backbone.module.named_parameters()}


def test_the_example_is_a_row_that_the_module_takes(built: Built) -> None:
    case, _, backbone = built
    with torch.no_grad():
        assert backbone.module(*backbone.example()).shape == (1, case.num_features)


def test_another_seed_gives_other_first_weights_of_the_same_architecture(built: Built) -> None:
    _, _, backbone = built
    states = [backbones.rebuild(backbone.architecture, seed=seed).module.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_the_module_is_in_evaluation_mode(built: Built) -> None:
    _, _, backbone = built
    assert not any(part.training for part in backbone.module.modules())


def test_settings_that_are_left_out_have_the_catalogs_defaults(built: Built) -> None:
    _, config, backbone = built
    entry = catalog.entry("backbone", config["name"])
    full = {argument.name: argument.default for argument in entry.arguments} | config
    assert backbones.build(full).architecture == backbone.architecture


class Seen(TorchFunctionMode):
    """Counts the calls of torch's fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.fused = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.fused += function is functional.scaled_dot_product_attention
        return function(*args, **(kwargs or {}))


ATTENTIONS = {"timm:test_vit": 6, "timm:test_maxvit": 8, "bert_folder": 2, "roberta_folder": 2, "vit_folder": 2}
ATTENTIONS |= {"swin_folder": 3, "hf:sentence-transformers/all-MiniLM-L6-v2": 6}
"""Layers of attention in a backbone's encoder."""


def test_all_attention_runs_in_torchs_fused_kernel(built: Built) -> None:
    case, _, backbone = built
    with Seen() as seen, torch.no_grad():
        backbone.module(*backbone.example())
    assert seen.fused == ATTENTIONS.get(case.name, 0)


def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(built: Built) -> None:
    _, _, backbone = built
    kept, gradients = [], []
    for checkpoints in (False, True):
        module = copy.deepcopy(backbone.module).train()
        assert not checkpoints or checkpoint_gradients(module)
        sizes: list[int] = []
        torch.manual_seed(1)
        with saved_tensors_hooks(lambda tensor, sizes=sizes: sizes.append(tensor.nbytes) or tensor, lambda kept: kept):
            features = module(*inputs_of(backbone))
        features.square().sum().backward()
        kept.append(sum(sizes))
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters()})
    assert kept[1] < kept[0]
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())
