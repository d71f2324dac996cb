"""From nodes to constants and domains, checked against the argument of the catalog that they are for."""

import math
from dataclasses import dataclass
from typing import Any, Final

from autoft.core.catalog import Argument
from autoft.core.errors import nearest
from autoft.space.domains import UNSET, Choice, Domain, is_share
from autoft.space.nodes import LARGEST, Node, Problems, is_number, shown
from autoft.space.normals import NORMALS, Normal
from autoft.space.ranges import RANGES
from autoft.space.tree import MISSING
from autoft.space.when import with_conditions
from autoft.space.yaml_text import read_scalar

_RANGES: Final = {kind.form: kind for kind in RANGES}
_NORMALS: Final = {kind.form: kind for kind in NORMALS}
FORMS: Final = (Choice.form, *_RANGES, *_NORMALS)
"""Keys that make a map a domain."""

_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "choice": ("prior", "when", "probabilities"),
    **dict.fromkeys(_RANGES, ("prior", "when", "step")),
    **dict.fromkeys(_NORMALS, ("prior", "when", "step", "bounds")),
}


def domain_forms(node: Node) -> list[str]:
    """Return the keys of a map that make it a domain; none for anything else."""
    return [key for key in FORMS if key in (node.map or {})]


def read_setting(node: Node, path: str, argument: Argument, problems: Problems) -> Any:
    """Return the constant or the `Searched` that a node writes; `MISSING`, with a problem noted, if it is wrong."""
    return _SettingReader(path, argument, problems).read(node)


@dataclass(frozen=True, slots=True)
class _SettingReader:
    """Reads what is given for one setting."""

    path: str
    argument: Argument
    problems: Problems

    def note(self, problem: str, node: Node, hint: str = "") -> None:
        self.problems.add(self.path, problem, node, hint=hint)

    def read(self, node: Node) -> Any:
        if node.map is None:
            return self.constant(node)
        forms = domain_forms(node)
        if len(forms) != 1:
            self.note_no_domain(node, forms)
            return MISSING
        domain = self.domain(node, forms[0])
        searched = with_conditions(domain or Choice([None]), node, self.path, self.problems)
        if domain is None:
            return MISSING
        if isinstance(domain, Choice) and len(domain.values) == 1 and not searched.when:
            return domain.values[0]
        return searched

    def constant(self, node: Node) -> Any:
        if node.items is not None:
            hint = " To search over several, write `{choice: [...]}`."
            self.note(f"must be {self.argument.wanted}, not the list {shown(node.plain())}", node, hint)
            return MISSING
        value = self.in_type(node.value)
        problem = self.argument.problem(value)
        if problem is None and isinstance(value, float) and not math.isfinite(value):
            problem = f"must be {self.argument.wanted}, and finite, not {value!r}"
        if problem is None:
            return value
        in_quotes = self.argument.type in ("float", "int") and _reads_as_number(value)
        self.note(problem, node, " In quotes it is a text; leave them out." if in_quotes else "")
        return MISSING

    def in_type(self, value: Any) -> Any:
        """Return a number in the argument's type, 16.0 as 16 and 1 as 1.0, so that equal spaces have equal bytes."""
        if self.argument.type == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        is_whole = isinstance(value, float) and abs(value) < LARGEST and value.is_integer()
        return int(value) if is_whole and self.argument.type == "int" else value

    def note_no_domain(self, node: Node, forms: list[str]) -> None:
        if forms:
            self.note(f"has two domains, {' and '.join(forms)}; it takes one", node)
            return
        for key in node.map or {}:
            if hint := nearest(key, FORMS):
                self.note(f"has the unknown domain '{key}'", node, f"{hint} Allowed: {', '.join(FORMS)}.")
                return
        problem = f"must be {self.argument.wanted}, or a domain, not {shown(node.plain())}"
        self.note(problem, node, f" Domains: {', '.join(FORMS)}.")

    def domain(self, node: Node, form: str) -> Domain | None:
        """Return the domain that a map with the key `form` writes, without its condition; None if it is wrong."""
        entries = node.map or {}
        allowed = (form, *_OPTIONS[form])
        before = len(self.problems)
        for key, value in entries.items():
            if key not in allowed:
                hint = f"{nearest(key, allowed)} Allowed: {', '.join(allowed)}."
                self.note(f"has the unknown key '{key}' beside {form}", value, hint)
        domain = self.choice(entries) if form == "choice" else self.numeric(entries, form)
        wrong = list(domain.problems()) if domain is not None else []
        for problem in wrong:
            self.note(problem, entries[form])
        if domain is not None and not wrong:
            self.check_ends(domain, entries.get("bounds", entries[form]))
        return domain if len(self.problems) == before else None

    def choice(self, entries: dict[str, Node]) -> Domain | None:
        node = entries["choice"]
        if node.items is None:
            self.note(f"has a choice that is no list: {shown(node.plain())}; write `choice: [...]`", node)
            return None
        values = []
        for item in node.items:
            if item.map is None:
                values.append(self.constant(item))
            else:
                self.note(f"has a map in its choice: {shown(item.plain())}; here a choice lists plain values", item)
                values.append(MISSING)
        if any(value is MISSING for value in values):
            return None
        prior = self.in_type(entries["prior"].plain()) if "prior" in entries else UNSET
        shares = read_probabilities(entries.get("probabilities"), self.path, self.problems)
        return Choice(values, prior=prior, probabilities=shares)

    def numeric(self, entries: dict[str, Node], form: str) -> Domain | None:
        if self.argument.type not in ("float", "int") or self.argument.choices is not None:
            self.note(f"must be {self.argument.wanted}; the range {form} does not fit it", entries[form])
            return None
        whole = form.startswith("int_")
        if self.argument.type == "int" and not whole:
            better = f"int_{form}" if form in _RANGES else "int_uniform"
            self.note(f"takes whole numbers; write {better} instead of {form}", entries[form])
            return None
        ends = self.ends(entries[form], form, whole=whole)
        given = {key: self.number(entries[key], key, whole=whole) for key in ("prior", "step") if key in entries}
        bounds = self.bounds(entries.get("bounds"))
        if ends is None or bounds is None or any(value is MISSING for value in given.values()):
            return None
        prior, step = given.get("prior", UNSET), given.get("step")
        if form in _RANGES:
            return _RANGES[form](ends[0], ends[1], prior=prior, step=step)
        # Without bounds of its own it reaches as far as the setting allows.
        low = self.lowest(step) if bounds[0] is None else bounds[0]
        high = self.argument.high if bounds[1] is None else bounds[1]
        limits = (None if low is None else float(low), None if high is None else float(high))
        return _NORMALS[form](ends[0], ends[1], prior=prior, bounds=limits, step=step)

    def lowest(self, step: float | None) -> float | None:
        """Return the least that the argument takes; in steps, where it must lie above its bound, the first above."""
        low = self.argument.low
        if low is None or step is None or step <= 0 or not self.argument.low_open:
            return low
        return (math.floor(low / step) + 1) * step

    def check_ends(self, domain: Domain, node: Node) -> None:
        """Note the first bound that the argument does not take."""
        if isinstance(domain, Choice):
            return
        ends = domain.bounds if isinstance(domain, Normal) else domain.arguments()
        multiple = self.argument.multiple_of
        if multiple is not None and not isinstance(domain, Normal):
            if (domain.options().get("step") or 1) % multiple:
                self.note(f"takes multiples of {multiple} alone", node, f" Write `step: {multiple}`.")
                return
            ends = [domain.at(0.0), domain.at(1.0)]
        for end in ends:
            if end is None or (problem := self.argument.problem(end)) is None:
                continue
            # On a continuum it has no mass of its own.
            is_open_end = isinstance(domain, Normal) and domain.step is None and end == self.argument.low
            if not is_open_end:
                self.note(f"{problem} (a bound of {domain.form} {list(ends)})", node)
                return

    def ends(self, node: Node, form: str, *, whole: bool) -> tuple[Any, Any] | None:
        pair = "[mean, spread]" if form in _NORMALS else "[low, high]"
        if node.items is None or len(node.items) != 2:
            self.note(f"must have two numbers, {form}: {pair}, not {shown(node.plain())}", node)
            return None
        first, second = (self.number(item, f"a bound of {form}", whole=whole) for item in node.items)
        return None if first is MISSING or second is MISSING else (first, second)

    def bounds(self, node: Node | None) -> tuple[float | None, float | None] | None:
        if node is None:
            return (None, None)
        if node.items is None or len(node.items) != 2:
            self.note(f"must have bounds: [low, high], not {shown(node.plain())}", node)
            return None
        ends = [None if item.value is None else self.number(item, "a bound", whole=False) for item in node.items]
        return None if any(end is MISSING for end in ends) else (ends[0], ends[1])

    def number(self, node: Node, what: str, *, whole: bool) -> Any:
        value = node.plain()
        if not is_number(value) or (whole and (value != int(value) or abs(value) > LARGEST)):
            kind = "a whole number" if whole else "a finite number"
            self.note(f"has {what} {shown(value)}; it must be {kind}", node)
            return MISSING
        return int(value) if whole else float(value)


def read_probabilities(node: Node | None, path: str, problems: Problems) -> list[float] | None:
    """Return the list that stands after `probabilities:`; None, with a problem noted, if it is none."""
    if node is None:
        return None
    shares = [item.value for item in node.items or ()]
    if not shares or not all(map(is_share, shares)):
        hint = " Leave out what is never to be drawn."
        problem = f"must have a list of numbers above 0 as probabilities, not {shown(node.plain())}"
        problems.add(path, problem, node, hint=hint)
        return None
    return [float(share) for share in shares]


def _reads_as_number(value: Any) -> bool:
    return isinstance(value, str) and is_number(read_scalar(value))
