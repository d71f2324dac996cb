"""Each mistake is one sentence with file, line, path, value, what is allowed and the nearest right name."""

from pathlib import Path
from typing import Any

import pytest

from autoft.core.errors import SpaceError
from autoft.space import Choice, IntUniform, LogUniform, Normal, SearchSpace, Uniform, load_space

HEAD = "task: image-classification\n"
FORMS = "choice, uniform, log_uniform, int_uniform, int_log_uniform, normal, log_normal"


def problems(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "vision.yaml") -> list[str]:
    """Return the sentences for a space that is written to a file."""
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError) as caught:
        load_space(name)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "optimizer: {name: adanw}",
            (
                "Unknown optimizer 'adanw' at optimizer.name (vision.yaml:2). Did you mean 'adamw'? "
                "`autoft list optimizers` shows all."
            ),
        ),
        (
            "backbone: {name: timm:resnt18}",
            (
                "backbone.name (vision.yaml:2): Unknown backbone 'timm:resnt18'. Did you mean 'timm:resnet18'? "
                "`autoft list backbones` shows all."
            ),
        ),
        (
            "backbone: hf:sentence-transformers/all-MiniLM-L6-v2",
            (
                "backbone.name (vision.yaml:2): hf:sentence-transformers/all-MiniLM-L6-v2 is for text-classification, "
                "not for image-classification. `autoft list backbones` shows all."
            ),
        ),
        (
            "backbone: {name: timm:resnet18, drop_pth: 0.1}",
            (
                "backbone.drop_pth (vision.yaml:2) is no setting of timm:resnet18. Did you mean 'drop_path'? "
                "Allowed: weights, input_size, drop_path, batch_norm, pooling."
            ),
        ),
        (
            "finetune: {name: full}",
            (
                "finetune (vision.yaml:2) must be a map with `mode:`, not {'name': 'full'}. "
                "Write `mode:` instead of `name:`."
            ),
        ),
        (
            "optimizer: [adamw, sgd]",
            (
                "optimizer (vision.yaml:2) must be a map with `name:`, not ['adamw', 'sgd']. "
                "To search over several, write `{choice: [...]}`."
            ),
        ),
        (
            "mixing: null",
            "mixing (vision.yaml:2) must be a map with `name:`, not null. Allowed: none, mixup, cutmix, mixup_cutmix.",
        ),
        (
            "averaging: {choice: [none, {decay: 0.9}]}",
            "averaging (vision.yaml:2) must be a map with `name:`, not {'decay': 0.9}. Allowed: none, ema, swa.",
        ),
        (
            "accumulation: true",
            "accumulation (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not true.",
        ),
        (
            "accumulation: {int_log_uniform: [1, 1e30]}",
            (
                "accumulation (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not "
                "1000000000000000019884624838656 (a bound of int_log_uniform [1, 1000000000000000019884624838656])."
            ),
        ),
        (
            "patience: 99999999999999999999",
            (
                "patience (vision.yaml:2) must be a whole number of at least 1 and at most 10000, "
                "not 99999999999999999999."
            ),
        ),
        (
            "optimizer: {choice: [lion, {name: lion, as: a b}]}",
            "optimizer (vision.yaml:2) has `as: 'a b'`; it must be a word such as lion_2.",
        ),
        (
            "finetune: {mode: probe}",
            "finetune.mode (vision.yaml:2) is 'probe', which runs by itself before every search; leave it out.",
        ),
        (
            "optimizer: {name: adamw, lr: {log_unifrm: [1e-5, 1e-3]}}",
            (
                "optimizer.lr (vision.yaml:2) has the unknown domain 'log_unifrm'. Did you mean 'log_uniform'? "
                f"Allowed: {FORMS}."
            ),
        ),
        (
            "optimizer: {name: adamw, lr: -1}",
            "optimizer.lr (vision.yaml:2) must be a number above 0 and at most 10, not -1.0.",
        ),
        (
            'optimizer: {name: adamw, lr: "1e-5"}',
            (
                "optimizer.lr (vision.yaml:2) must be a number above 0 and at most 10, not '1e-5'. "
                "In quotes it is a text; leave them out."
            ),
        ),
        (
            "optimizer: {name: adamw, lr: NaN}",
            "optimizer.lr (vision.yaml:2) must be a number above 0 and at most 10, not 'NaN'.",
        ),
        (
            "optimizer: {name: adamw, lr: [1e-5, 1e-4]}",
            (
                "optimizer.lr (vision.yaml:2) must be a number above 0 and at most 10, not the list [1e-05, 0.0001]. "
                "To search over several, write `{choice: [...]}`."
            ),
        ),
        (
            "optimizer: {name: {choice: [adamw, sgd]}}",
            (
                "optimizer.name (vision.yaml:2) must be a name, not {'choice': ['adamw', 'sgd']}. "
                "Each name is a branch of `choice:`."
            ),
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, 0.01]}}",
            (
                "optimizer.lr (vision.yaml:2) has its bounds the wrong way round: uniform [0.1, 0.01]; "
                "the first must be below the second."
            ),
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, 0.1]}}",
            "optimizer.lr (vision.yaml:2) has two equal bounds: uniform [0.1, 0.1]; write the plain value to fix it.",
        ),
        (
            "optimizer: {name: sgd, lr: {log_uniform: [0, 0.1]}}",
            "optimizer.lr (vision.yaml:2) has a logarithmic range that does not start above 0: log_uniform [0, 0.1].",
        ),
        (
            "optimizer: {name: sgd, lr: {log_uniform: [-1, 0.1]}}",
            "optimizer.lr (vision.yaml:2) has a logarithmic range that does not start above 0: log_uniform [-1, 0.1].",
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0, 0.1]}}",
            (
                "optimizer.lr (vision.yaml:2) must be a number above 0 and at most 10, not 0.0 "
                "(a bound of uniform [0.0, 0.1])."
            ),
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: 0.1}}",
            "optimizer.lr (vision.yaml:2) must have two numbers, uniform: [low, high], not 0.1.",
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, .inf]}}",
            "optimizer.lr (vision.yaml:2) has a bound of uniform inf; it must be a finite number.",
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, 0.2], prior: 0.3}}",
            "optimizer.lr (vision.yaml:2) has prior 0.3, which is not in uniform [0.1, 0.2].",
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, 0.2], pror: 0.3}}",
            (
                "optimizer.lr (vision.yaml:2) has the unknown key 'pror' beside uniform. Did you mean 'prior'? "
                "Allowed: uniform, prior, when, step."
            ),
        ),
        (
            "optimizer: {name: sgd, lr: {uniform: [0.1, 0.2], choice: [1]}}",
            "optimizer.lr (vision.yaml:2) has two domains, choice and uniform; it takes one.",
        ),
        (
            "optimizer: {name: sgd, nesterov: yes}",
            "optimizer.nesterov (vision.yaml:2) must be true or false, not 'yes'.",
        ),
        (
            "optimizer: {name: sgd, nesterov: {uniform: [0, 1]}}",
            "optimizer.nesterov (vision.yaml:2) must be true or false; the range uniform does not fit it.",
        ),
        (
            "optimizer: {choice: [{name: sgd}, {name: sgd}]}",
            "optimizer (vision.yaml:2) has two branches called 'sgd'. Give each its own label: `as: sgd_2`.",
        ),
        (
            "optimizer: {choice: [sgd, adamw], prior: lion}",
            "optimizer (vision.yaml:2) has prior 'lion', which is none of its branches. Branches: sgd, adamw.",
        ),
        (
            "optimizer: {choice: [sgd, adamw], momentm: 0.1}",
            (
                "optimizer (vision.yaml:2) has the unknown key 'momentm' beside choice. Did you mean 'momentum'? "
                "Allowed: choice, prior, when, probabilities."
            ),
        ),
        (
            "optimizer: {choice: [sgd, adamw], lr: 0.1}",
            "optimizer.lr (vision.yaml:2) stands beside `choice:`; write it in the branches that have lr.",
        ),
        ("augmentation: {choice: []}", "augmentation (vision.yaml:2) has an empty choice; list at least one branch."),
        ("batch_size: {choice: []}", "batch_size (vision.yaml:2) has an empty choice; list at least one value."),
        (
            "batch_size: {choice: 16}",
            "batch_size (vision.yaml:2) has a choice that is no list: 16; write `choice: [...]`.",
        ),
        ("batch_size: {choice: [16, 16]}", "batch_size (vision.yaml:2) lists 16 twice in its choice."),
        (
            "batch_size: {choice: [16, 32], prior: 64}",
            "batch_size (vision.yaml:2) has prior 64, which is not in its choice [16, 32].",
        ),
        ("batch_size: 0", "batch_size (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not 0."),
        (
            "batch_size: 16.5",
            "batch_size (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not 16.5.",
        ),
        (
            "batch_size: null",
            "batch_size (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not null.",
        ),
        (
            "batch_size: {uniform: [8, 64]}",
            "batch_size (vision.yaml:2) takes whole numbers; write int_uniform instead of uniform.",
        ),
        (
            "batch_size: {int_uniform: [8, 64.5]}",
            "batch_size (vision.yaml:2) has a bound of int_uniform 64.5; it must be a whole number.",
        ),
        (
            "batch_size: {int_uniform: [8, 64], step: 100}",
            (
                "batch_size (vision.yaml:2) has step 100; it must be above 0 and at most the width 56 of "
                "int_uniform [8, 64]."
            ),
        ),
        (
            "clip_value: {normal: [0.9, 0]}",
            (
                "clip_value (vision.yaml:2) has normal [0.9, 0]; its spread, the second number, must be above 0, "
                "and both finite."
            ),
        ),
        (
            "clip_value: {normal: [0.9, 0.1], bounds: [0.5, 0.1]}",
            (
                "clip_value (vision.yaml:2) has its bounds the wrong way round: [0.5, 0.1]; "
                "the first must be below the second."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {optimizer.nme: sgd}}",
            (
                "patience (vision.yaml:2) has `when:` on 'optimizer.nme', which is not in this space. "
                "Did you mean 'optimizer.name'?"
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {optimizer.name: adamv}}",
            (
                "patience (vision.yaml:2) has `when:` on 'optimizer.name' that can never hold: adamv. "
                "Did you mean 'adamw'? It can be: adamw."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {optimizer.momentum: 0.9}}",
            (
                "patience (vision.yaml:2) has `when:` on 'optimizer.momentum', which is not in this space. "
                "There optimizer has name, lr, weight_decay, decay_norms_and_biases, beta1, beta2, eps."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {optimzer.bta1: 0.9}}",
            (
                "patience (vision.yaml:2) has `when:` on 'optimzer.bta1', which is not in this space. "
                "Did you mean 'optimizer.beta1'?"
            ),
        ),
        (
            "head: {name: linear, dropout: {uniform: [0, 0.5], when: {head.lr_multiplier: {above: 1}}}}",
            (
                "head.dropout (vision.yaml:2) has `when:` on 'head.lr_multiplier' that can never hold: {above: 1}. "
                "It can be: 1.0."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {clip_norm: {above: 3}}}\nclip_norm: {uniform: [1, 2]}",
            (
                "patience (vision.yaml:2) has `when:` on 'clip_norm' that can never hold: {above: 3}. "
                "It can be: uniform [1.0, 2.0]."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: {batch_size: {abov: 3}}}",
            (
                "patience (vision.yaml:2) has `when:` on 'batch_size' with the unknown comparison 'abov'. "
                "Did you mean 'above'? Allowed: in, not, above, at_least, below, at_most."
            ),
        ),
        (
            "patience: {int_uniform: [1, 5], when: full}",
            (
                "patience (vision.yaml:2) has a `when:` that is no map of path to value: 'full'. "
                "Write `when: {optimizer.name: adamw}`."
            ),
        ),
        (
            "budget: {trials: 0}",
            "budget.trials (vision.yaml:2) must be a whole number of at least 1, not 0.",
        ),
        (
            "budget: {epoch: 3}",
            "budget.epoch (vision.yaml:2) is unknown. Did you mean 'epochs'? Allowed: trials, epochs.",
        ),
    ],
)
def test_one_mistake_is_one_sentence(line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(f"{HEAD}{line}\n", tmp_path, monkeypatch) == [sentence]


def test_a_path_for_a_section_is_written_as_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in ("optimizer.lr: 0.1", "optimizer[sgd].lr: 0.1"):
        (sentence,) = problems(f"{HEAD}{line}\n", tmp_path, monkeypatch)
        assert sentence.endswith("(vision.yaml:2). Here a section is a map: `optimizer: {name: ..., lr: ...}`.")


def test_a_tab_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems(f"{HEAD}optimizer:\n\tname: sgd\n", tmp_path, monkeypatch)
    assert sentence.startswith("vision.yaml:3 is not valid YAML: ")
    assert sentence.endswith(" Indent with spaces, not with tabs.")


def test_an_unknown_section_has_the_nearest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems(f"{HEAD}\noptimiser: sgd\n", tmp_path, monkeypatch)
    assert sentence.startswith("Unknown section 'optimiser' (vision.yaml:3). Did you mean 'optimizer'? Allowed: task, ")


def test_conditions_that_go_round_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f"{HEAD}optimizer: {{choice: [sgd, adamw], when: {{batch_size: 8}}}}\n"
        "batch_size: {choice: [8, 16], when: {optimizer.name: sgd}}\n"
    )
    (sentence,) = problems(text, tmp_path, monkeypatch)
    assert "depends on itself through `when:`: " in sentence


def test_all_mistakes_come_in_one_pass_in_the_order_of_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """\
task: image-classification
batch_size: 0
backbone:
  choice:
    - timm:resnet18
    - {name: timm:resnt18}
optimizer:
  choice:
    - name: adamw
      lr: {log_uniform: [0, 0.1]}
      beta1: 2
    - name: sgd
      momentum: {uniform: [0.9, 0.8]}
patience: {int_uniform: [1, 5], when: {nope.x: 1}}
"""
    found = problems(text, tmp_path, monkeypatch)
    assert [sentence.partition("vision.yaml:")[2].partition(")")[0] for sentence in found] == [
        "2",
        "6",
        "10",
        "11",
        "13",
        "14",
    ]


def test_what_cannot_work_together_is_told_beside_other_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"""\
{HEAD}backbone: {{choice: [timm:resnt18, {{name: timm:resnet18, input_size: 8}}]}}
finetune: {{choice: [full, lora]}}
optimizer: adanw
mixing: mixup
batch_size: 1
"""
    found = problems(text, tmp_path, monkeypatch)
    assert [sentence[: sentence.index("(vision.yaml:") + 14] for sentence in found] == [
        "backbone.name (vision.yaml:2",
        "backbone.input_size (vision.yaml:2",
        "finetune.mode (vision.yaml:3",
        "Unknown optimizer 'adanw' at optimizer.name (vision.yaml:4",
        "mixing.name (vision.yaml:5",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "head: {name: linear, dropout: 1.5}",
        "head: {name: linear, droput: 0.5}",
        "head: {name: linear, dropout: {choice: [0.0], when: {finetune.mode: nope}}}",
        "head: {name: linear}\nforbid: [{loss.name: cross_entropy, head.nam: linear}]",
        "head: {name: linear, dropout: !x 0.5}",
        "head: {choice: [linear], dropout: 0.5}",
        "backbone: {query: 'timm:nothing*'}",
    ],
)
def test_no_default_is_blamed_for_what_a_mistake_hides(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sentence,) = problems(f"{HEAD}{wrong}\nregularization: r_drop\n", tmp_path, monkeypatch)
    assert "R-Drop" not in sentence


def test_without_a_task_no_default_of_one_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems("finetune: lora\n", tmp_path, monkeypatch)
    assert sentence.startswith("task (vision.yaml) is missing")


def test_a_forbidden_default_is_told_beside_other_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "head: {choice: [linear, mlp]}\nforbid:\n  - {head.name: linear}\n  - {head.nam: mlp}\nbatch_size: 0\n"
    found = problems(f"{HEAD}{lines}", tmp_path, monkeypatch)
    assert [sentence.partition(" ")[0] for sentence in found] == ["forbid[0]", "forbid[1]", "batch_size"]


def test_a_branch_that_is_left_out_is_not_missed_by_what_is_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{HEAD}optimizer: {{choice: [adanw, sgd]}}\nforbid: [{{optimizer.name: sgd}}]\n"
    (sentence,) = problems(text, tmp_path, monkeypatch)
    assert sentence.startswith("Unknown optimizer 'adanw'")


@pytest.mark.parametrize(
    "setting", ["0.2", "{uniform: [0.0, 0.2]}", "{choice: [0.0, 0.1], when: {batch_size: {above: 8}}}"]
)
def test_a_file_drops_nothing_within_a_backbone_that_is_always_frozen(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{HEAD}backbone:\n  choice:\n    - timm:resnet50\n    - name: timm:resnet18\n      drop_path: {setting}\n"
    assert problems(f"{text}finetune: head\n", tmp_path, monkeypatch) == [
        (
            "backbone.drop_path (vision.yaml:6) has no effect: finetune.mode (vision.yaml:7) is head, which freezes "
            "the backbone and drops nothing within it. Leave it out, or search a mode that trains."
        )
    ]
    (tmp_path / "both.yaml").write_text(f"{text}finetune: {{choice: [full, head]}}\n")
    narrowed = load_space("both.yaml").narrowed({"finetune.mode": "head"})
    assert SearchSpace.from_json(narrowed.to_json()) == narrowed
    (tmp_path / "own.yaml").write_text("extends: both.yaml\nfinetune: head\n")
    load_space("own.yaml")


def test_a_dropping_of_nothing_is_no_mistake_in_a_frozen_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vision.yaml").write_text(f"{HEAD}backbone: {{name: timm:resnet18, drop_path: 0.0}}\nfinetune: head\n")
    monkeypatch.chdir(tmp_path)
    load_space("vision.yaml")


def test_mistakes_of_the_text_and_of_its_meaning_come_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "task: image-classification\nbatch_size: 0\noptimizer: !x sdg\n? [a]\n: 1\nbatch_size: 8\n"
    assert problems(text, tmp_path, monkeypatch) == [
        "batch_size (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not 0.",
        "vision.yaml:3 has the tag '!x'; a space takes plain YAML without tags.",
        "vision.yaml:4 has a key that is a map or a list; keys are words.",
        "vision.yaml:6 has the key 'batch_size' again, after vision.yaml:2.",
    ]


def test_without_the_space_that_is_extended_the_whole_sections_are_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """extends: image-classification/defualt
optimizer: {momentum: 2}
batch_size: {prior: 3}
finetune: {mode: ful}
patience: {int_uniform: [5, 1], when: {optimizer.momentum: {above: 0.5}}}
accumulation: 0
forbid:
  - {batch_size: 8, loss.gamma: {above: 2}}
"""
    assert problems(text, tmp_path, monkeypatch) == [
        (
            "Unknown space 'image-classification/defualt' at extends (vision.yaml:1). "
            "Did you mean 'image-classification/default'? `autoft list spaces` shows all."
        ),
        (
            "Unknown finetune 'ful' at finetune.mode (vision.yaml:4). Did you mean 'full'? "
            "`autoft list finetune` shows all."
        ),
        (
            "patience (vision.yaml:5) has its bounds the wrong way round: int_uniform [5, 1]; "
            "the first must be below the second."
        ),
        "accumulation (vision.yaml:6) must be a whole number of at least 1 and at most 65536, not 0.",
    ]


def test_a_mistake_in_a_space_that_is_extended_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text(f"{HEAD}batch_size: 0\n")
    (sentence,) = problems("extends: base.yaml\n", tmp_path, monkeypatch)
    assert sentence == "batch_size (base.yaml:2) must be a whole number of at least 1 and at most 65536, not 0."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "vision.yaml is empty; a space has at least `task:`."),
        ("- 1\n", "A space (vision.yaml:1) must be a map with `task:`, not [1]."),
        ("batch_size: 8\n", "task (vision.yaml) is missing; it is one of image-classification, text-classification."),
        (
            "task: image-clasification\n",
            (
                "Unknown task 'image-clasification' at task (vision.yaml:1). Did you mean 'image-classification'? "
                "Allowed: image-classification, text-classification."
            ),
        ),
        (f"{HEAD}task: x\n", "vision.yaml:2 has the key 'task' again, after vision.yaml:1."),
        (f"{HEAD}a: &a [*a]\n", "vision.yaml:2 has an alias that contains itself or grows without end."),
        (
            f"{HEAD}description: !!python/object:os.system x\n",
            (
                "vision.yaml:2 has the tag 'tag:yaml.org,2002:python/object:os.system'; "
                "a space takes plain YAML without tags."
            ),
        ),
        (f"{HEAD}? [1]\n: 2\n", "vision.yaml:2 has a key that is a map or a list; keys are words."),
        (
            f"{HEAD}extends: nowhere/none\n",
            "Unknown space 'nowhere/none' at extends (vision.yaml:2). `autoft list spaces` shows all.",
        ),
        ("extends: vision.yaml\n", "extends (vision.yaml:1) goes round: {0} -> {0}."),
        ("extends: [a]\n", "extends (vision.yaml:1) must be the name or path of a space, not ['a']."),
        ("extends: gone.yaml\n", "There is no file 'gone.yaml' for the space at extends (vision.yaml:1)."),
    ],
)
def test_a_file_that_is_no_space(text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(text, tmp_path, monkeypatch) == [sentence.format(tmp_path / "vision.yaml")]


@pytest.mark.parametrize("text", ["a: [1\nb: 2\n", "a: b: c\n", "a:\n\t- b\n", "a: 'x\n", "a: 1\n---\nb: 2\n"])
def test_a_syntax_error_names_its_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems(text, tmp_path, monkeypatch)
    assert sentence.startswith("vision.yaml:")
    assert " is not valid YAML: " in sentence
    assert "\n" not in sentence


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems(f"{HEAD}clip_norm: .inf\n", tmp_path, monkeypatch)
    assert sentence == "clip_norm (vision.yaml:2) must be a number above 0, and finite, not inf."
    (sentence,) = problems(f"{HEAD}batch_size: {'9' * 5000}\n", tmp_path, monkeypatch)
    assert sentence == "batch_size (vision.yaml:2) must be a whole number of at least 1 and at most 65536, not inf."


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sentence,) = problems(f"a: {'[' * 20_000}{']' * 20_000}\n", tmp_path, monkeypatch)
    assert sentence == "vision.yaml is nested too deeply to be a space."


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"task: \xff\xfe\x01\n")
    with pytest.raises(SpaceError, match="is not a YAML text"):
        load_space(path)


def test_aliases_that_grow_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (sentence,) = problems("\n".join(lines), tmp_path, monkeypatch)
    assert "grows without end" in sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "image-clasification/quick",
            (
                "Unknown space 'image-clasification/quick'. Did you mean 'image-classification/quick'? "
                "`autoft list spaces` shows all."
            ),
        ),
        ("gone.yaml", "There is no file 'gone.yaml' for the space."),
        (".", "The space '.' is a folder, not a YAML file."),
    ],
)
def test_a_space_that_is_not_there(name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceError) as caught:
        load_space(name)
    assert list(caught.value.problems) == [sentence]


def test_the_python_form_has_the_same_mistakes_with_the_branch_for_the_line() -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(
            task="image-classification",
            optimizer=Choice([{"name": "adamw", "lr": LogUniform(0.0, 1.0)}, {"name": "sgd", "momentum": "big"}]),
            scheduler="cosine",
        )
    assert list(caught.value.problems)[1:] == [
        "optimizer[adamw].lr has a logarithmic range that does not start above 0: log_uniform [0, 1].",
        "optimizer[sgd].momentum must be a number of at least 0 and at most 0.9999, not 'big'.",
    ]
    assert caught.value.problems[0].startswith("Unknown section 'scheduler'. Did you mean 'schedule'?")


def contains_itself() -> dict[str, object]:
    block: dict[str, object] = {"name": "sam"}
    block["base"] = block
    return block


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"clip_norm": Uniform(1.0, 2.0, when="full")},  # type: ignore[arg-type]
            ("clip_norm has a `when:` that is no map of path to value: 'full'. Write `when: {optimizer.name: adamw}`."),
        ),
        ({"budget": 3}, "budget must be a map with trials and epochs, not 3."),
        ({"optimizer": contains_itself()}, "A space is nested too deeply, or contains itself."),
        (
            {"accumulation": IntUniform(1, 10**400)},
            "accumulation has a bound of int_uniform inf; it must be a whole number.",
        ),
        (
            {"patience": Choice([1e308, 3])},
            "patience must be a whole number of at least 1 and at most 10000, not 1e+308.",
        ),
        (
            {"patience": IntUniform(1, 1e308)},
            "patience has a bound of int_uniform 1e+308; it must be a whole number.",
        ),
        ({"extends": "nowhere/none"}, "Unknown space 'nowhere/none' at extends. `autoft list spaces` shows all."),
        (
            {"clip_norm": Normal(1.0, 1.0, bounds=(0.0, 2.0), step=0.5)},
            "clip_norm must be a number above 0, not 0.0 (a bound of normal [0.0, 2.0]).",
        ),
    ],
)
def test_one_mistake_in_python_is_one_sentence(sections: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(task="image-classification", **sections)
    assert list(caught.value.problems) == [sentence]


@pytest.mark.parametrize("values", ["sgd", 5, {"name": "sgd"}])
def test_a_choice_of_no_list_is_refused(values: Any) -> None:
    with pytest.raises(SpaceError, match=r"^Choice takes a list of values, not "):
        Choice(values)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"optimizer.lrr": 1}, "optimizer.lrr is not in this space. Did you mean 'optimizer.lr'?"),
        ({"nope": 1}, "nope is not in this space."),
        ({3: 1}, "3 is not in this space."),
        (
            {"optimizer": {"choice": ["adamw", {"lr": 1}]}, "optimizer.lr": 0.1, "optimizer.name": "sgd"},
            (
                "optimizer (override) must be a map with `name:`, not {'lr': 1}. Allowed: adamw, sgd, nadamw, radam, "
                "lamb, lion, adan, adafactor, muon, sam."
            ),
        ),
        ({"lr": 1}, "lr is not in this space. Did you mean 'optimizer.lr'?"),
        ({"optimizer.base.lr": 1}, "optimizer.base.lr is not in this space. Did you mean 'optimizer.lr'?"),
        ({"Batch_Size": 8}, "Batch_Size is not in this space. Did you mean 'batch_size'?"),
        (
            {"optimizer.name": "SGD"},
            (
                "optimizer.name (override) must be one of its branches, adamw, sgd, not 'SGD'. Did you mean 'sgd'? "
                "To search others, write a space with `extends:`."
            ),
        ),
        (
            {"optimizer.name": {"choice": []}},
            "optimizer.name (override) picks none of its branches. It has adamw, sgd.",
        ),
        (
            {"optimizer.name": ["adamw", "sgd"]},
            (
                "optimizer.name (override) must be one of its branches, adamw, sgd, not ['adamw', 'sgd']. "
                "To pick several, write `{choice: [...]}`."
            ),
        ),
        (
            {"optimizer[sgdd].lr": 1},
            "optimizer[sgdd].lr names no branch of optimizer. Did you mean 'sgd'? It has adamw, sgd.",
        ),
        (
            {"optimizer.name": "sdg"},
            (
                "optimizer.name (override) must be one of its branches, adamw, sgd, not 'sdg'. Did you mean 'sgd'? "
                "To search others, write a space with `extends:`."
            ),
        ),
        ({"batch_size": 0}, "batch_size (override) must be a whole number of at least 1 and at most 65536, not 0."),
        (
            {"optimizer.momentum": {"uniform": [0.9, 0.8]}},
            (
                "optimizer.momentum (override) has its bounds the wrong way round: uniform [0.9, 0.8]; "
                "the first must be below the second."
            ),
        ),
    ],
)
def test_a_wrong_override(override: dict[Any, object], sentence: str) -> None:
    space = SearchSpace(task="image-classification", optimizer=Choice(["adamw", "sgd"]))
    with pytest.raises(SpaceError) as caught:
        space.narrowed(override)
    assert list(caught.value.problems) == [sentence]


def extended(tmp_path: Path, backbones: str, change: str) -> list[str]:
    (tmp_path / "base.yaml").write_text(
        f"task: image-classification\nfinetune: full\nbackbone: {{choice: [{backbones}]}}\n"
    )
    (tmp_path / "mine.yaml").write_text(f"extends: base.yaml\nbackbone:\n  {change}\n")
    with pytest.raises(SpaceError) as caught:
        load_space(tmp_path / "mine.yaml")
    return [sentence.replace(f"{tmp_path}/", "") for sentence in caught.value.problems]


VITS = "timm:vit_tiny_patch16_224, timm:vit_small_patch16_224"
NOT_A_SIZE = "must be a whole number, a multiple of 16, of at least 16 and at most 2048, not 230"
REMEDY = "Write one that all branches take, or the whole `choice:` with one for each."


@pytest.mark.parametrize("backbones", [f"timm:resnet18, {VITS}", f"timm:resnet18, {{query: [{VITS}]}}"])
def test_a_change_that_some_branches_do_not_take_is_refused_with_their_names(tmp_path: Path, backbones: str) -> None:
    (sentence,) = extended(tmp_path, backbones, "input_size: 230")
    names = sentence.partition(" for ")[2].partition(")")[0].split(", ")
    assert sentence == f"backbone.input_size (mine.yaml:3 for {', '.join(names)}) {NOT_A_SIZE}. {REMEDY}"
    assert [name.partition(".")[0] for name in sorted(names)] == sorted(VITS.split(", "))


def test_a_value_in_a_changed_domain_is_refused_with_the_branches_too(tmp_path: Path) -> None:
    change = "input_size:\n    choice: [224, 230]"
    (sentence,) = extended(tmp_path, "timm:resnet18, timm:vit_tiny_patch16_224", change)
    assert sentence == f"backbone.input_size (mine.yaml:4 for timm:vit_tiny_patch16_224) {NOT_A_SIZE}. {REMEDY}"


def test_a_change_that_no_branch_takes_is_refused_once(tmp_path: Path) -> None:
    (sentence,) = extended(tmp_path, VITS, "input_size: 230")
    assert sentence == f"backbone.input_size (mine.yaml:3) {NOT_A_SIZE}."


def test_a_setting_of_a_query_that_some_answers_do_not_take_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "task: image-classification\nfinetune: full\n"
        "backbone: {query: [timm:resnet18, timm:vit_tiny_patch16_224], settings: {input_size: 230}}\n"
    )
    with pytest.raises(SpaceError) as caught:
        load_space(tmp_path / "own.yaml")
    (sentence,) = caught.value.problems
    assert "own.yaml:3 for timm:vit_tiny_patch16_224" in sentence


def test_settings_of_a_query_that_are_no_map_are_refused_where_a_space_changes_one(tmp_path: Path) -> None:
    query = "{query: 'timm:resnet*', settings: [drop_path]}"
    assert extended(tmp_path, f"timm:convnext_tiny, {query}", "drop_path: 0.1") == [
        "backbone.settings (base.yaml:3) must be a map of setting to value, not ['drop_path']."
    ]
