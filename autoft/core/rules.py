"""What cannot work together: combinations of settings that fail, or of which one has no effect; no matters of taste.

A rule is data in the language of `forbid:`, and where the backbone's facts have a say a small function of what the
configuration holds. A name that the catalog has not makes a rule that never applies. `space/` asks the rules when a
space is read; `recipe.complete` asks them of a finished recipe.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoft.core import catalog
from autoft.core.errors import ConfigError
from autoft.core.jsonable import Json

Read = Callable[[str], Any]
"""What a configuration has at a path ("optimizer.base.name"); None where it has nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One combination that is refused: everything in `when`, and what `further` finds in addition."""

    description: str
    """One line, for lists."""
    when: Mapping[str, Any]
    """Path to value, list of values, or comparisons, as `forbid:` has them."""
    reason: str
    """Why not: the end of a sentence, without a full stop."""
    further: Callable[[Read], Json | None] | None = None
    """Of what `when` holds for: the rest of the combination in the same form; None: it may stay."""
    reads: tuple[str, ...] = ()
    """Paths that `further` reads."""
    stated: tuple[str, ...] = ()
    """Paths that a space must write out for the rule to apply: as a default the value does no harm. So a finished
    recipe, which holds every default, is not asked."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that it looks at."""
        return (*self.when, *self.reads)

    def broken(self, read: Read) -> Json | None:
        """Return the combination that a configuration holds and must not, as `forbid:` would list it; else None."""
        if not all(passes(test, read(path)) for path, test in self.when.items()):
            return None
        rest = self.further(read) if self.further is not None else {}
        return None if rest is None else {**self.when, **rest}


def passes(test: Any, value: Any) -> bool:
    """Return whether a value passes a test in the form of `forbid:`; None, which stands for nothing, passes none."""
    if value is None:
        return False
    if isinstance(test, Mapping):
        return all(_compare(word, value, bound) for word, bound in test.items())
    return any(_same(value, wanted) for wanted in _listed(test))


def _compare(word: str, value: Any, bound: Any) -> bool:
    if word == "in":
        return any(_same(value, wanted) for wanted in _listed(bound))
    if word == "not":
        return not any(_same(value, other) for other in _listed(bound))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if word == "above":
        return bool(value > bound)
    if word == "at_least":
        return bool(value >= bound)
    return bool(value < bound if word == "below" else value <= bound)


def _listed(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, list | tuple) else (values,)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def reader(recipe: Mapping[str, Any]) -> Read:
    """Return what reads a recipe or a part of one by path."""

    def read(path: str) -> Any:
        found: Any = recipe
        for name in path.split("."):
            if not isinstance(found, Mapping):
                return None
            found = found.get(name)
        return found

    return read


def mistakes(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (path, what is wrong) for every rule that a recipe, or the part of one that is given, breaks."""
    read = reader(recipe)
    for rule in RULES:
        broken = None if rule.stated else rule.broken(read)
        if broken is not None:
            first, *others = broken
            values = " and ".join(f"{path}: {shown(read(path))}" for path in others)
            yield first, f"{shown(read(first))} does not go with {values}: {rule.reason}"


def shown(value: Any) -> str:
    """Return a value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _facts(read: Read) -> Json:
    """Return the facts of the configuration's backbone; nothing where there are none."""
    name = read("backbone.name")
    if not isinstance(name, str):
        return {}
    try:
        return catalog.entry("backbone", name).facts
    except ConfigError:
        return {}  # That there is none is said elsewhere.


def _without(fact: str) -> Callable[[Read], Json | None]:
    """Return the further condition that the backbone has none of something that is counted or said."""

    def further(read: Read) -> Json | None:
        facts = _facts(read)
        return {"backbone.name": read("backbone.name")} if fact in facts and not facts[fact] else None

    return further


def _with_fixed_size(read: Read) -> Json | None:
    return {"backbone.name": read("backbone.name")} if _facts(read).get("fixed_size") else None


def _all_groups(setting: str) -> Callable[[Read], Json | None]:
    """Return the further condition that a setting counts all layer groups of the backbone."""

    def further(read: Read) -> Json | None:
        groups, count = _facts(read).get("groups"), read(setting)
        if groups is None or count is None or count < groups:
            return None
        return {"backbone.name": read("backbone.name"), setting: {"at_least": groups}}

    return further


_CHANCES_OF_INPUT = {"image": "backbone.drop_path", "text": "backbone.dropout"}
"""The setting that makes two passes of one batch through the backbone differ, by what it reads."""


def _nothing_random(read: Read) -> Json | None:
    mode, dropout, adapters = read("finetune.mode"), read("head.dropout"), read("finetune.dropout")
    if dropout is None or dropout > 0:
        return None
    if mode in FROZEN_MODES:
        return {"finetune.mode": mode, "head.dropout": 0}
    still = None if (adapters or 0) > 0 else _still(read)
    return (
        None if still is None else {"head.dropout": 0} | still | ({} if adapters is None else {"finetune.dropout": 0})
    )


def _still(read: Read) -> Json | None:
    """Return what leaves nothing random in the backbone, while it learns; None where something is, or may be."""
    facts, name = _facts(read), str(read("backbone.name"))
    setting = _CHANCES_OF_INPUT.get(str(facts.get("input")))
    chance = None if setting is None else read(setting)
    if setting is None or (chance is not None and chance > 0):
        return None
    if chance is not None and (name.startswith("timm:") or setting == "backbone.dropout"):
        return {setting: 0}
    # An encoder of texts has its own dropout where the setting is null, one of pictures in any case.
    return {setting: chance, "backbone.name": name} if facts.get("dropout") == 0 else None


FROZEN_MODES = ("probe", "head")
"""Modes in which the backbone is frozen, in evaluation mode, and its features may be computed once."""
_NO_MATRICES = ("head", "norm_bias", "ia3")
"""Modes in which no matrix of the backbone learns."""
_FROZEN_NORMS = (*FROZEN_MODES, "lora", "dora", "ia3")
"""Modes in which no norm of the backbone learns: all are in evaluation mode."""
_TO_EMBEDDINGS = "it acts through the embeddings of the tokens, and nothing behind them learns or is computed again"


def _of_optimizers(path: str) -> tuple[Rule, ...]:
    """Return the rules of an optimizer at "optimizer", or inside of another at "optimizer.base"."""
    return (
        Rule(
            description="Nesterov's momentum needs momentum.",
            when={f"{path}.nesterov": True, f"{path}.momentum": 0},
            stated=(f"{path}.nesterov",),
            reason="Nesterov's step looks ahead along the momentum, and there is none",
        ),
        Rule(
            description="A decay of norms and biases needs a decay.",
            when={f"{path}.decay_norms_and_biases": True, f"{path}.weight_decay": 0},
            reason="nothing decays, so whether norms and biases do has no effect",
        ),
        Rule(
            description="Muon needs matrices that learn.",
            when={f"{path}.name": "muon", "finetune.mode": list(_NO_MATRICES)},
            reason="Muon is for matrices of the backbone, and in this mode none of them learns",
        ),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        description="Probe then full solves for a linear head.",
        when={"finetune.mode": "lp_ft", "head.name": "mlp"},
        reason="lp_ft starts from a linear head that a solver finds, and there is none for an mlp",
    ),
    Rule(
        description="FGM needs embeddings that the trial computes.",
        when={"regularization.name": "fgm", "finetune.mode": list(FROZEN_MODES)},
        reason=_TO_EMBEDDINGS,
    ),
    Rule(
        description="Embedding MixUp needs embeddings that the trial computes.",
        when={"mixing.name": "embedding_mixup", "finetune.mode": list(FROZEN_MODES)},
        reason=_TO_EMBEDDINGS,
    ),
    Rule(
        description="R-Drop needs two passes that differ.",
        when={"regularization.name": "r_drop"},
        reason="R-Drop compares two passes of one batch, and nothing in them is random",
        further=_nothing_random,
        reads=("finetune.mode", "head.dropout", "backbone.name", *_CHANCES_OF_INPUT.values(), "finetune.dropout"),
    ),
    Rule(
        description="Progressive resizing needs a backbone that takes several sizes.",
        when={"resizing.name": "progressive"},
        reason="the backbone is built for one size of pictures",
        further=_with_fixed_size,
        reads=("backbone.name",),
    ),
    Rule(
        description="Adapters go to the linear layers of attention.",
        when={"finetune.mode": ["lora", "dora"], "finetune.targets": "attention"},
        reason="adapters go to the linear layers of attention, of which the backbone has none",
        further=_without("attention_linears"),
        reads=("backbone.name",),
    ),
    Rule(
        description="Adapters go to the linear layers of the blocks.",
        when={"finetune.mode": ["lora", "dora"], "finetune.targets": "all"},
        reason="adapters go to the linear layers of the blocks, of which the backbone has none",
        further=_without("linears"),
        reads=("backbone.name",),
    ),
    Rule(
        description="(IA)^3 scales keys and values.",
        when={"finetune.mode": "ia3"},
        reason="(IA)^3 goes to the linear layers of attention, of which the backbone has none",
        further=_without("attention_linears"),
        reads=("backbone.name",),
    ),
    Rule(
        description="Some layer group must be left to learn.",
        when={"finetune.frozen_groups": {"at_least": 1}},
        reason="the backbone has no more layer groups than that, so none would learn: that is finetune.mode: head",
        further=_all_groups("finetune.frozen_groups"),
        reads=("backbone.name",),
    ),
    Rule(
        description="Some layer group must stay pretrained.",
        when={"finetune.reinit_groups": {"at_least": 1}},
        reason="the backbone has no more layer groups than that, so nothing pretrained would be left",
        further=_all_groups("finetune.reinit_groups"),
        reads=("backbone.name",),
    ),
    Rule(
        description="Mixing needs two rows.",
        when={"mixing.name": {"not": "none"}, "batch_size": 1},
        reason="a batch of one row has no other to mix with",
    ),
    Rule(
        description="The statistics of batches need batch norms that learn.",
        when={"backbone.batch_norm": "batch", "finetune.mode": list(_FROZEN_NORMS)},
        reason="no batch norm of the backbone learns in this mode, and all keep their statistics",
    ),
    Rule(
        description="Probe then full keeps the statistics of the probe.",
        when={"backbone.batch_norm": "batch", "finetune.mode": "lp_ft"},
        reason="lp_ft starts from the probe's head, which means nothing to features by the statistics of a batch",
    ),
    Rule(
        description="The statistics of batches take the place of pretrained ones.",
        when={"backbone.batch_norm": "batch", "backbone.weights": "none"},
        reason="random weights come with no statistics to keep, and their batch norms train on the batches' anyway",
    ),
    *_of_optimizers("optimizer"),
    *_of_optimizers("optimizer.base"),
)
"""All of them; `tests/space/test_rules.py` has a case of each."""
