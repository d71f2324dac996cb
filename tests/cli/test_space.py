import json
from pathlib import Path

import pytest

from autoft.cli import main
from autoft.space import load_space

TEXT = """\
task: image-classification
backbone:
  choice:
    - name: timm:tf_efficientnet_lite0
      input_size: {choice: [128, 192, 224]}
    - name: timm:resnet18
finetune:
  choice:
    - mode: head
    - mode: full
      layer_decay: {uniform: [0.5, 1.0]}
optimizer:
  choice:
    - name: adamw
      lr: {log_uniform: [1.0e-5, 3.0e-3], prior: 3e-4}
    - name: sgd
      momentum: {uniform: [0.8, 0.99], when: {finetune.mode: full}}
batch_size: {choice: [16, 32, 64]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vision.yaml"
    path.write_text(TEXT)
    return path


def test_show_gives_a_file_that_loads_as_the_same_space(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", "show", str(file), "--format", "yaml"]) == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(capsys.readouterr().out)
    assert load_space(copy) == load_space(file)


def test_show_gives_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "show", str(file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == load_space(file).to_json()


def test_show_lists_what_varies_with_default_and_condition(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "show", str(file), "--format", "table"]) == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in capsys.readouterr().out.splitlines()}
    assert rows["optimizer[adamw].lr"] == "{log_uniform: [1e-05, 0.003]} 0.0003 optimizer is adamw"
    assert rows["batch_size"] == "{choice: [16, 32, 64]} 16"
    assert rows["optimizer[sgd].momentum"].endswith("optimizer is sgd and finetune.mode: full")


def test_show_draws_the_tree_with_what_is_active(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "show", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file}: image-classification, 4 to 7 of 8 active"
    assert lines[1:4] == [
        "  backbone: choice of 2, 1 to 2 active",
        "    - timm:tf_efficientnet_lite0: 1 active",
        "      input_size: {choice: [128, 192, 224]}",
    ]
    assert "    - full: 1 active, 1 continuous" in lines
    assert "    - head: nothing to search" in lines
    assert lines[-1].startswith("size: 8 combinations of branches")


def test_show_counts_a_finite_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "task: image-classification\noptimizer: {choice: [adamw, sgd]}\nbatch_size: {choice: [8, 16, 32]}\n"
    )
    main(["space", "show", str(path)])
    assert capsys.readouterr().out.splitlines()[-1].endswith("0 of them continuous; 6 configurations")
    path.write_text(path.read_text() + "forbid: [{optimizer.name: sgd, batch_size: {above: 8}}]\n")
    main(["space", "show", str(path)])
    assert capsys.readouterr().out.splitlines()[-1].endswith("; 4 configurations")


def test_show_draws_samples_by_the_seed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for seed in ("0", "0", "1"):
        assert main(["space", "show", str(file), "--samples", "3", "--seed", seed, "--format", "json"]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1] != shown[2]
    space = load_space(file)
    assert len(shown[0]) == 3
    for recipe in shown[0]:
        space.validate(space.assignment(recipe))
    assert main(["space", "show", str(file), "--samples", "2"]) == 0
    assert "sample 2 of 2 (seed 0):\n  backbone: {name: " in capsys.readouterr().out
    assert main(["space", "show", str(file), "--samples", "2", "--format", "yaml"]) == 2


def test_schema_goes_to_stdout_or_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "schema", "--task", "text-classification"]) == 0
    shown = json.loads(capsys.readouterr().out)
    path = tmp_path / "made" / "space.json"
    assert main(["space", "schema", "--task", "text-classification", "--out", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(path.read_text()) == shown
    assert main(["space", "schema", "--task", "vision"]) == 2


def test_check_says_the_size_and_a_sample(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "check", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{file} is right: a space for image-classification.\n")
    assert "backbones: timm:tf_efficientnet_lite0, timm:resnet18\n" in out
    size = "size: 8 combinations of branches, 8 parameters, 3 of them continuous; "
    assert f"{size}0 to 2 continuous dimensions at a time, by branch\n" in out
    assert "  optimizer: {name: " in out


def test_the_sample_follows_the_seed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for seed in ("0", "0", "1"):
        main(["space", "check", str(file), "--seed", seed])
        shown.append(capsys.readouterr().out.partition("a sample")[2].partition("\n")[2])
    assert shown[0] == shown[1] != shown[2]


def test_check_gives_every_mistake_with_its_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TEXT.replace("name: adamw", "name: adanw").replace("uniform: [0.5", "unifrom: [0.5"))
    assert main(["space", "check", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: 2 mistakes:\n  ")
    assert "vision.yaml:11" in captured.err
    assert "Did you mean 'adamw'?" in captured.err
    assert "vision.yaml:14" in captured.err


def test_check_looks_whether_local_weights_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "task: image-classification\n"
        "backbone:\n"
        "  choice:\n"
        "    - {name: timm:resnet18, weights: none}\n"
        "    - name: timm:resnet50\n"
        "      weights:\n"
        "        choice: [there.safetensors, gone.safetensors]\n"
        "    - {name: timm:resnet34, weights: notes.txt}\n"
        "batch_size: -1\n"
    )
    (tmp_path / "there.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["space", "check", "own.yaml"]) == 2
    shown = capsys.readouterr().err
    assert "batch_size (own.yaml:9) must be " in shown
    assert (
        "backbone.weights (own.yaml:7): The weights 'gone.safetensors' of timm:resnet50 do not exist; give the path of "
        "a file (.safetensors, .pth, .pt, .bin) or folder, or 'none' for random weights." in shown
    )
    assert "backbone.weights (own.yaml:8): The weights 'notes.txt' of timm:resnet34 are no .safetensors, " in shown
    assert "there.safetensors" not in shown.replace("gone.safetensors", "")
    path.write_text(path.read_text().replace("gone", "there2").replace("notes.txt", "none").replace("-1", "8"))
    (tmp_path / "there2.safetensors").touch()
    assert main(["space", "check", "own.yaml"]) == 0


def test_a_space_that_is_not_there_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "show", "image-classification/quik"]) == 2
    assert "Did you mean 'image-classification/quick'?" in capsys.readouterr().err
