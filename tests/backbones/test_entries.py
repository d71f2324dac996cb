"""What the catalog knows of backbones, without torch."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from autoft.core import catalog
from autoft.core.entries import backbones as tables
from autoft.core.entries import hf_types
from autoft.core.errors import ConfigError
from autoft.core.recipe import complete


def names(entry: catalog.Entry) -> list[str]:
    return [argument.name for argument in entry.arguments]


def test_every_timm_model_and_tag_is_in_the_catalog() -> None:
    assert {name for name in timm.list_models() if catalog.entry("backbone", f"timm:{name}")} == set(timm.list_models())
    for full in timm.list_models(pretrained=True, include_tags=True):
        assert catalog.entry("backbone", f"timm:{full}").facts["hub"]


def test_the_table_is_of_the_installed_timm() -> None:
    assert catalog.entry("backbone", "timm:resnet18").source == f"timm {timm.__version__}"


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg11", "mobilenetv1_100", "test_vit", "test_maxvit", "tf_efficientnet_lite0"]
)
def test_the_facts_are_those_of_the_model(name: str) -> None:
    from autoft.backbones.facts import measure

    facts = catalog.entry("backbone", f"timm:{name}").facts
    columns = (
        *("parameters", "features", "pooled", "drop_path", "groups", "linears", "attention_linears", "cls_token"),
        "batch_norms",
    )
    expected = {key: str(int(facts[key])) for key in columns}
    assert measure(name) == expected | {"gmacs": f"{facts['gmacs']:.4g}"}


def test_the_gmacs_are_those_of_the_tags_own_size() -> None:
    at = {tag: catalog.entry("backbone", f"timm:resnet18{tag}").facts["gmacs"] for tag in ("", ".a1_in1k", ".a3_in1k")}
    assert at == {"": 1.814, ".a1_in1k": 1.814, ".a3_in1k": 0.9253}  # 224, 224 and 160 px; 224 px: He et al., 1.8e9


def test_a_layer_of_attention_and_one_of_the_block_are_counted_apart() -> None:
    counts = {
        name: tuple(catalog.entry("backbone", name).facts[key] for key in ("linears", "attention_linears"))
        for name in (
            "timm:vit_base_patch16_224",
            "timm:resnet18",
            "timm:mixer_s16_224",
            "timm:maxvit_tiny_tf_224",
            "hf:google-bert/bert-base-cased",
        )
    }
    assert counts == {
        "timm:vit_base_patch16_224": (48, 24),
        "timm:resnet18": (0, 0),
        "timm:mixer_s16_224": (32, 0),
        "timm:maxvit_tiny_tf_224": (88, 44),
        "hf:google-bert/bert-base-cased": (72, 48),
    }


def test_batch_norms_are_those_of_the_features() -> None:
    names = ("resnet18", "resnet50", "tf_efficientnet_lite0", "convnext_tiny", "vit_base_patch16_224")
    counts = {name: catalog.entry("backbone", f"timm:{name}").facts["batch_norms"] for name in names}
    # One behind each convolution: 17 and 49 of the depth that the names count, the fully connected one left out, and 3
    # or 4 on the paths that skip; EfficientNet's stem and head, 2 in its first block and 3 in each of the other 15.
    assert counts == {
        "resnet18": 17 + 3,
        "resnet50": 49 + 4,
        "tf_efficientnet_lite0": 2 + 2 + 3 * 15,
        "convnext_tiny": 0,
        "vit_base_patch16_224": 0,
    }


def test_timms_results_are_read_as_published() -> None:
    rows = hf_types.table(tables._RESULTS_TABLE)
    found = [float(row["top1"]) for row in rows]
    assert (len(rows), found[0], found[-1]) == (1001, 90.052, 57.91)
    assert found == sorted(found, reverse=True)
    known = {(row["name"], row["tag"]) for row in hf_types.table(tables.TIMM_TABLE)}
    assert {(row["name"], row["tag"]) for row in rows} <= known
    facts = catalog.entry("backbone", "timm:resnet50.a1_in1k").facts
    assert (facts["accuracy"], facts["accuracy_size"], facts["images_per_second"]) == (81.214, 288, 5088.39)


def test_timms_results_are_near_torchvisions_of_the_same_weights() -> None:
    from torchvision.models import get_model_weights

    tags = {"tv_in1k": "IMAGENET1K_V1", "tv2_in1k": "IMAGENET1K_V2"}
    for name in ("resnet18", "resnet50", "resnet101", "resnet152", "vgg11", "vgg16_bn", "densenet121", "densenet201"):
        for tag, other in tags.items():
            if (name, tag) in tables._results():
                top1 = get_model_weights(name)[other].meta["_metrics"]["ImageNet-1K"]["acc@1"]
                assert abs(catalog.entry("backbone", f"timm:{name}.{tag}").facts["accuracy"] - top1) < 0.5


def test_speeds_are_those_of_the_tags_own_size() -> None:
    rows = hf_types.table(tables._SPEED_TABLE)
    found = [float(row["images_per_second"]) for row in rows]
    assert (len(rows), found) == (1441, sorted(found, reverse=True))
    at = {
        tag: catalog.entry("backbone", f"timm:resnet18.{tag}").facts["images_per_second"]
        for tag in ("a1_in1k", "a3_in1k")
    }
    assert at == {"a1_in1k": 18247.43, "a3_in1k": 35956.09}
    assert "images_per_second" not in catalog.entry("backbone", "timm:test_mambaout").facts


def test_published_sizes_are_the_defaults() -> None:
    for name, size in (("resnet18", 224), ("resnet18.a3_in1k", 160), ("tf_efficientnet_lite1", 240)):
        entry = catalog.entry("backbone", f"timm:{name}")
        argument = entry.argument("input_size")
        assert argument is not None
        assert (argument.default, entry.facts["input_size"]) == (size, size)


def test_the_types_of_hf_models_are_those_of_transformers() -> None:
    assert set(hf_types._types()) <= set(CONFIG_MAPPING_NAMES)
    found = tuple(hf_types.input_of(name) for name in ("bert", "vit", "deberta-v2", "swin", "no-such-type"))
    assert found == ("text", "image", "text", "image", None)


def test_known_encoders_have_a_paper_and_a_size() -> None:
    for entry in catalog.entries("backbone"):
        if entry.name.startswith("hf:"):
            assert "arXiv" in entry.source
            assert entry.facts["parameters"] > 1_000_000


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "bert-base-uncased", "roberta-base"])
def test_a_known_text_encoder_has_the_settings_of_texts(name: str) -> None:
    entry = catalog.entry("backbone", f"hf:{name}")
    assert names(entry) == ["weights", "max_length", "pooling", "dropout"]
    assert entry.tasks == ("text-classification",)


def test_a_folders_type_decides_on_its_settings(tmp_path: Path) -> None:
    for model_type, setting in (("vit", "drop_path"), ("bert", "pooling")):
        folder = tmp_path / model_type
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": model_type, "image_size": 384}))
        assert setting in names(catalog.entry("backbone", f"hf:{folder}"))
    size = catalog.entry("backbone", f"hf:{tmp_path / 'vit'}").argument("input_size")
    assert size is not None
    assert size.default == 384


def test_a_name_that_cannot_be_known_has_the_settings_of_both() -> None:
    entry = catalog.entry("backbone", "hf:someone/some-model")
    assert names(entry) == ["weights", "input_size", "drop_path", "batch_norm", "max_length", "pooling", "dropout"]
    assert entry.tasks == ()
    part = {"backbone": {"name": entry.name}, "finetune": {"mode": "probe"}}
    assert complete(part, task="text-classification")["backbone"]["max_length"] == 128


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet18",
            "Unknown backbone 'resnet18'; needed is timm:NAME or hf:HUB_NAME_OR_FOLDER. Did you mean 'timm:",
        ),
        ("timm:resnt18", "Unknown backbone 'timm:resnt18'. Did you mean 'timm:resnet18'?"),
        ("timm:resnet18.a1_in2k", "timm:resnet18 has no pretrained tag 'a1_in2k'. Did you mean 'a1_in1k'?"),
        ("timm:", "Unknown backbone 'timm:'"),
        ("hf:", "Unknown backbone 'hf:'"),
        ("hf:./no/such/folder", "The backbone 'hf:./no/such/folder' is no folder"),
        ("torch:resnet18", "Unknown backbone 'torch:resnet18'"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.entry("backbone", name)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json"):
        catalog.entry("backbone", f"hf:{tmp_path}")


def test_all_entries_are_there_in_a_moment_without_torch() -> None:
    code = (
        "import sys, time; start = time.process_time(); from autoft.core import catalog; "
        "n = len(list(catalog.entries('backbone'))); "
        "print(n, time.process_time() - start < 1, [m for m in ('torch', 'timm', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["True", "[]"]
    assert int(done.stdout.split()[0]) > 1371


def test_an_entry_that_was_asked_for_before_costs_microseconds() -> None:
    catalog.entry("backbone", "timm:resnet18")
    start = time.process_time()
    for _ in range(1000):
        catalog.entry("backbone", "timm:resnet18")
    assert time.process_time() - start < 0.1
