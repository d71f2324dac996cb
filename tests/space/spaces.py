"""Spaces for the tests: the one of the documentation, and any that hypothesis can think of."""

from typing import Any

from hypothesis import strategies as st

from autoft.core.jsonable import Json

DOCUMENTED = """\
# search_spaces/image-classification/default.yaml
task: image-classification
backbone:
  choice:
    - name: timm:tf_efficientnet_lite0
      input_size: {choice: [128, 192, 224]}
    - name: timm:resnet18
      drop_path: {uniform: [0.0, 0.2]}
finetune:
  choice:
    - mode: head
    - mode: full
      layer_decay: {uniform: [0.5, 1.0]}
optimizer:
  choice:
    - name: adamw
      lr: {log_uniform: [1.0e-5, 3.0e-3], prior: 3.0e-4}
      weight_decay: {log_uniform: [1.0e-6, 1.0e-1]}
    - name: sgd
      lr: {log_uniform: [1.0e-4, 1.0e-1]}
      momentum: {uniform: [0.8, 0.99]}
schedule: {name: cosine, warmup_fraction: {uniform: [0.0, 0.2]}}
augmentation:
  choice:
    - name: none
    - name: flip
    - name: randaugment
      magnitude: {int_uniform: [1, 10]}
batch_size: {choice: [16, 32, 64]}
"""

FULL_ONLY: Json = {"finetune.mode": "full"}


def _with_extras(domain: Json, extras: tuple[Any, bool]) -> Json:
    when, is_conditional = extras
    return domain | {"when": when} if is_conditional else domain


def floats(low: float, high: float, *, log: bool = False) -> st.SearchStrategy[Any]:
    """Draw constants, choices, ranges and bell curves of numbers in [low, high]."""
    number = st.floats(low, high, allow_nan=False, allow_subnormal=False)
    pair = st.tuples(number, number).filter(lambda ends: ends[1] - ends[0] > 1e-6).map(list)
    forms = [
        st.lists(number, min_size=1, max_size=3, unique=True).map(lambda values: {"choice": values}),
        pair.map(lambda ends: {"uniform": ends}),
        pair.map(lambda ends: {"uniform": ends, "step": (ends[1] - ends[0]) / 4}),
        pair.map(lambda ends: {"normal": [sum(ends) / 2, ends[1] - ends[0]], "bounds": ends}),
    ]
    if log:
        forms.append(pair.map(lambda ends: {"log_uniform": ends}))
        forms.append(pair.map(lambda ends: {"log_uniform": ends, "prior": ends[0]}))
    return number | st.one_of(forms)


def ints(low: int, high: int) -> st.SearchStrategy[Any]:
    """Draw constants, choices and ranges of whole numbers in [low, high]."""
    number = st.integers(low, high)
    pair = st.tuples(number, number).filter(lambda ends: ends[0] < ends[1]).map(list)
    return st.one_of(
        number,
        st.lists(number, min_size=1, max_size=3, unique=True).map(lambda values: {"choice": values}),
        pair.map(lambda ends: {"int_uniform": ends}),
        pair.map(lambda ends: {"int_uniform": ends, "step": max((ends[1] - ends[0]) // 3, 1), "prior": ends[0]}),
        pair.map(lambda ends: {"int_log_uniform": ends}),
    )


def searchable(values: st.SearchStrategy[Any], when: Json = FULL_ONLY) -> st.SearchStrategy[Any]:
    """Put a condition on some of the domains."""
    return st.tuples(values, st.booleans()).map(
        lambda pair: _with_extras(pair[0], (when, pair[1])) if isinstance(pair[0], dict) else pair[0]
    )


def branch(fixed: Json, **settings: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """Draw a branch with some of the settings."""
    return st.fixed_dictionaries({}, optional=settings).map(lambda given: fixed | given)


def block(*branches: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Draw one branch, or a choice of several."""
    several = st.tuples(*branches).map(list)
    return st.one_of(*branches, several.map(lambda chosen: {"choice": chosen}))


def spaces() -> st.SearchStrategy[Json]:
    """Draw the JSON form of a valid image space."""
    small = floats(0.0, 0.5)
    sections = {
        "backbone": block(
            branch({"name": "timm:resnet18"}, drop_path=small, input_size=ints(32, 320)),
            branch({"name": "timm:resnet50"}, drop_path=searchable(small)),
            branch({"name": "timm:resnet50", "as": "large"}, input_size=searchable(ints(64, 224))),
        ),
        "augmentation": block(
            branch({"name": "none"}),
            branch({"name": "crop_flip"}, min_scale=searchable(floats(0.1, 1.0, log=True))),
            branch({"name": "randaugment"}, magnitude=searchable(ints(1, 10))),
        ),
        "optimizer": block(
            branch({"name": "adamw"}, lr=searchable(floats(1e-5, 1e-1, log=True)), weight_decay=small),
            branch({"name": "sgd"}, lr=floats(1e-4, 1.0, log=True), momentum=searchable(small)),
        ),
        "schedule": branch({"name": "cosine"}, warmup_fraction=searchable(small, {"batch_size": {"above": 16}})),
        "batch_size": ints(1, 64),
        "clip_norm": searchable(floats(0.5, 5.0, log=True), {"optimizer.name": "sgd"}),
        "patience": st.none() | ints(1, 8),
    }
    finetune = {"choice": [{"mode": "full", "layer_decay": {"uniform": [0.5, 1.0]}}, {"mode": "head"}]}
    return (
        st.fixed_dictionaries({}, optional=sections)
        .map(_repaired)
        .map(lambda given: {"task": "image-classification", "finetune": finetune} | given)
    )


def _repaired(space: Json) -> Json:
    """Drop conditions that could never hold beside what else was drawn."""
    names = {part["name"] for part in _branches(space.get("optimizer", {"name": "adamw"}))}
    clip = space.get("clip_norm")
    if "sgd" not in names and isinstance(clip, dict):
        clip.pop("when", None)
    schedule = space.get("schedule", {})
    warmup = schedule.get("warmup_fraction")
    if isinstance(warmup, dict):
        warmup.pop("when", None) if _largest(space.get("batch_size", 32)) <= 16 else None
    return space


def _branches(section: Json) -> list[Json]:
    return section.get("choice", [section])


def _largest(value: Any) -> int:
    if not isinstance(value, dict):
        return int(value)
    ends = value.get("choice") or value.get("int_log_uniform")
    if ends:
        return max(ends)
    low, high = value["int_uniform"]
    step = value.get("step", 1)
    return low + (high - low) // step * step
