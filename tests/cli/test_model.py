"""`predict` and `evaluate` with a real bundle: a small network whose weights are random."""

import csv
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoft import backbones
from autoft.artifact.bundle import Bundle, write_bundle
from autoft.cli import main
from autoft.core.configs import TrialConfig
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.tasks import Network, get_task

LABELS = ("blue", "red")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    task = "image-classification"
    section = {"name": "timm:test_resnet", "weights": "none", "input_size": 32}
    recipe = complete({"backbone": section, "finetune": {"mode": "head"}}, task=task)
    backbone = backbones.build(recipe["backbone"], pretrained=False)
    head = get_task(task).build_head(backbone.num_features, len(LABELS), recipe, seed=0)
    folder = tmp_path_factory.mktemp("bundle")
    made = Bundle(
        config=TrialConfig(task=task, data={"target": "label"}, recipe=recipe, epochs=1, metrics=("accuracy",), seed=0),
        reported={"trial": "t0001", "epoch": 1, "epochs": [{}], "weights_sha256": "", "num_rows": {}},
        tensors=Network(backbone.module, head).state_dict(),
        preprocessing={"inputs": backbone.preprocessing, "architecture": backbone.architecture},
        labels=LABELS,
        metrics={},
    )
    write_bundle(Store.open(folder), made)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        (folder / label).mkdir()
        for number in range(3):
            Image.new("RGB", (40 + number, 36), colour).save(folder / label / f"{number}.png")
    return folder


def test_every_picture_of_a_folder_gets_a_label_and_probabilities(
    bundle: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", bundle, str(pictures)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 6
    for row in rows:
        probabilities = json.loads(row["probabilities"])
        assert list(probabilities) == list(LABELS)
        assert np.isclose(sum(probabilities.values()), 1)
        assert float(row["probability"]) == probabilities[row["label"]] == max(probabilities.values())


def test_the_command_predicts_what_python_predicts(
    bundle: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from autoft.api import load

    files = sorted(map(str, pictures.rglob("*.png")))
    assert main(["predict", bundle, *files, "--out", str(tmp_path / "a.jsonl")]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"6 predictions are in {tmp_path}/a.jsonl.\n")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == load(bundle).predict(files)
    assert [row["input"] for row in rows] == files


def test_a_missing_input_is_refused_and_no_file_is_made(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", bundle, str(tmp_path / "no.png"), "--out", str(tmp_path / "a.csv")]) == 2
    assert "no.png" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_note_in_a_picture_is_passed_over_without_a_word(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 50
    Image.new("RGB", (40, 36)).save(tmp_path / "a.jpg", exif=note)
    assert main(["predict", bundle, str(tmp_path / "a.jpg")]) == 0
    assert capsys.readouterr().err == ""


def test_a_closed_standard_input_is_still_that_of_a_command_line(
    bundle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["predict", bundle, "-"]) == 2
    assert "Texts on stdin are of no use to a model of pictures" in capsys.readouterr().err


def test_a_broken_picture_is_refused_and_no_file_is_made(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["predict", bundle, str(broken), "--out", str(tmp_path / "a.csv")]) == 2
    assert capsys.readouterr().err.startswith("Error: ")
    assert list(tmp_path.iterdir()) == [broken]
    assert main(["predict", bundle, str(broken)]) == 2
    assert capsys.readouterr().out == ""


def test_of_many_pictures_a_broken_one_is_named_and_the_others_are_predicted(
    bundle: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "a.jsonl"
    shutil.copytree(pictures, folder)
    (folder / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["predict", bundle, str(folder), "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert f"'{folder}/blue/broken.png' cannot be used: " in captured.err
    assert captured.err.endswith("1 of 7 inputs have no prediction.\n")
    assert f"6 predictions are in {out}.\n" in captured.err
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["input"] for row in rows] == [f"{folder}/{c}/{n}.png" for c in ("blue", "red") for n in range(3)]


def test_an_evaluation_in_json_has_the_pinned_form(
    bundle: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", bundle, str(pictures), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report) == ["metrics", "per_class", "confusion", "num_rows"]
    assert report["metrics"]["accuracy"].keys() == {"value", "low", "high"}
    assert report["per_class"]["red"].keys() == {"precision", "recall", "f1", "support"}
    assert report["confusion"]["labels"] == list(LABELS)
    assert np.sum(report["confusion"]["counts"]) == report["num_rows"] == 6


def test_an_evaluation_as_a_table_shows_metrics_classes_and_confusion(
    bundle: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", bundle, str(pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["metric", "value", "low", "high"]
    assert any(line.startswith("true \\ predicted") for line in lines)
    assert lines[-1] == "6 rows"


def test_an_evaluation_takes_another_target_than_that_of_the_training(
    bundle: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "new.csv"
    table.write_text(f"file,colour\n{pictures}/blue/0.png,blue\n{pictures}/red/0.png,red\n")
    assert main(["evaluate", bundle, str(table)]) == 2
    assert "has no column 'label' (--target). Its columns: file, colour." in capsys.readouterr().err
    assert main(["evaluate", bundle, str(table), "--target", "colour", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_rows"] == 2


def test_a_target_for_a_folder_is_refused(bundle: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", bundle, str(pictures), "--target", "colour"]) == 2
    assert "--target colour names a column, but" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(tmp_path), "x.png"]) == 2
    assert "is no bundle" in capsys.readouterr().err
