"""The JSON Schema takes what ships and refuses what a person mistypes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

import autoft
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json, canonical_json
from autoft.space import load_space, shipped_spaces
from autoft.space.schema import space_schema
from autoft.space.schema_sharing import with_shared_parts
from autoft.space.yaml_text import parse_yaml
from tests.space.spaces import DOCUMENTED, spaces

ROOT = Path(autoft.__file__).parent.parent / "search_spaces"
WHOLE = Draft202012Validator(space_schema())
IMAGE = Draft202012Validator(space_schema("image-classification"))


def from_yaml(text: str) -> Any:
    return parse_yaml(text, file="a.yaml").plain()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(space_schema())


def test_an_editor_can_hold_it() -> None:
    assert len(canonical_json(space_schema())) < 400_000


def test_what_repeats_is_written_once_and_means_the_same() -> None:
    part = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, {"enum": ["a", "b", "c", "d", "e"]}]}
    schema = {"type": "object", "properties": {name: {**part} for name in ("type", "anyOf", "c")}, "$defs": {}}
    shared = with_shared_parts(schema)
    assert shared["$defs"] == {"shared_1": part}
    assert shared["properties"] == {key: {"$ref": "#/$defs/shared_1"} for key in ("type", "anyOf", "c")}


@pytest.mark.parametrize("name", shipped_spaces())
def test_it_takes_every_shipped_space_as_written_and_as_recorded(name: str) -> None:
    written = from_yaml((ROOT / f"{name}.yaml").read_text())
    for form in (written, load_space(name).to_json()):
        assert list(WHOLE.iter_errors(form)) == []
        assert list(Draft202012Validator(space_schema(load_space(name).task)).iter_errors(form)) == []


@settings(max_examples=25, deadline=None)
@given(spaces())
def test_it_takes_every_valid_space(form: Json) -> None:
    assert WHOLE.is_valid(form)


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENTED,
        "task: image-classification\nbackbone: {query: 'timm:*', max_parameters: 30M, top: 3, by: accuracy}\n",
        (
            "task: image-classification\nbatch_size: {choice: [8, 16], probabilities: [0.5, 0.5]}\n"
            "forbid: [{batch_size: 8, optimizer.lr: {above: 1.0}}]\n"
        ),
        "extends: image-classification/quick\noptimizer: {lr: 0.01, prior: sgd}\nbatch_size: {prior: 32}\n",
        "task: image-classification\noptimizer: {choice: [adamw, {name: sgd, as: heavy, momentum: 0.9}]}\n",
        "task: image-classification\noptimizer: {choice: [adamw, {name: sgd, as: größer.2, lr: {normal: [5, 1]}}]}\n",
        "task: image-classification\nbatch_size: {choice: [8.0, 16], prior: 8.0}\npatience: {choice: [null, 3]}\n",
    ],
)
def test_it_takes(text: str) -> None:
    assert list(WHOLE.iter_errors(from_yaml(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "batch_size: 8",
        "task: image-clasification",
        "task: image-classification\noptimiser: sgd",
        "task: image-classification\noptimizer: adanw",
        "task: image-classification\noptimizer: {name: adamw, momentum: 0.9}",
        "task: image-classification\noptimizer: {name: adamw, lr: -1}",
        "task: image-classification\noptimizer: {name: adamw, lr: fast}",
        "task: image-classification\noptimizer: {name: adamw, lr: {log_unifrm: [1e-5, 1e-3]}}",
        "task: image-classification\noptimizer: {name: adamw, lr: {uniform: [1e-5]}}",
        "task: image-classification\noptimizer: {lr: 0.1}",
        "task: image-classification\nbackbone: timm:resnt18",
        "task: image-classification\nbackbone: {name: timm:resnet18, max_length: 64}",
        "task: image-classification\nbackbone: {query: 'timm:*', by: acuracy}",
        "task: image-classification\nfinetune: probe",
        "task: image-classification\nfinetune: {name: full}",
        "task: image-classification\nbatch_size: 0",
        "task: image-classification\nbatch_size: {uniform: [8, 16]}",
        "task: image-classification\nbatch_size: {choice: []}",
        "task: image-classification\nbatch_size: {choice: [8], probabilities: [0]}",
        "task: image-classification\nbatch_size: {choice: [8, 8.0]}",
        "task: image-classification\nbatch_size: {int_uniform: [8, 16], step: 1.5}",
        "task: image-classification\noptimizer: {name: sgd, momentum: {log_uniform: [0, 0.9]}}",
        "task: image-classification\noptimizer: {name: sgd, momentum: {normal: [0.9, 0]}}",
        "task: image-classification\noptimizer: {choice: [adamw, {name: sgd, as: a b}]}",
        "task: image-classification\nforbid: {batch_size: 8}",
        "task: image-classification\nforbid: [{nope: 8}]",
        "task: image-classification\nbudget: {epoch: 3}",
        "task: image-classification\npatience: {int_uniform: [1, 5], when: {batch_size: {abov: 3}}}",
    ],
)
def test_it_refuses(text: str) -> None:
    assert not WHOLE.is_valid(from_yaml(text))


def test_a_schema_for_a_task_knows_its_names_alone() -> None:
    masking = {"augmentation": "token_masking"}
    assert WHOLE.is_valid({"task": "text-classification"} | masking)
    assert not IMAGE.is_valid({"task": "image-classification"} | masking)
    assert IMAGE.is_valid({"batch_size": 8})
    with pytest.raises(ConfigError, match="Unknown task 'vision'"):
        space_schema("vision")
