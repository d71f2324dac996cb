"""The catalog's rules against a space: can it give a combination that cannot work?"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from typing import Any, Final

import numpy as np

from autoft.core.jsonable import Json, canonical_json
from autoft.core.rules import RULES, Rule, passes
from autoft.space.conditions import Path, When, read_path
from autoft.space.domains import Domain
from autoft.space.liveness import decided_by
from autoft.space.nodes import Node, Problems
from autoft.space.plan import Assignment, Plan
from autoft.space.rule_sentences import note, spot
from autoft.space.tree import Block, Branch, Parameter, Reading, Section, readings

_COMBINATIONS: Final = 4_000
"""Combinations that are looked at one by one; of more, so many draws besides."""
_INNER: Final = (2**-20, 0.5, 1 - 2**-20)
"""Places that stand for all of a continuum: its very ends are never drawn."""


def check_rules(
    plan: Plan,
    entries: Mapping[str, Node],
    nodes: Mapping[str, Node],
    problems: Problems,
    *,
    hidden: Collection[str] = (),
) -> None:
    """Note every rule that some configuration of a space breaks, each once, with all that must be forbidden.

    Args:
        plan: Of the space; what its `forbid:` and `when:` leave out breaks no rule.
        entries: The sections as written.
        nodes: Where each parameter was written, by label.
        problems: Takes what is found.
        hidden: Paths of which other mistakes hide the value, with all that is in them: no rule on one is asked.
    """
    places = Places(plan)
    for rule in RULES:
        if any(path == one or path.startswith(f"{one}.") for path in rule.paths for one in hidden):
            continue
        search = _Search(places, rule)
        found = search.broken()
        if found:
            first = found[0]
            read = partial(places.value, values=first.values)
            branch_at = partial(places.branch, values=first.values)
            labels = {path: places.label(path, first.values) for path in first.combination}
            spots = {
                path: spot(path, branch_at, entries.get(_parsed(path).section), nodes.get(labels[path] or ""))
                for path in labels
            }
            combinations = [one.combination for one in found]
            note(rule.reason, combinations, spots, read, problems, is_fixed=not search.own())


class Places:
    """What stands at each path of a space."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._readings: dict[str, tuple[Reading, ...]] = {}

    def at(self, path: str) -> tuple[Reading, ...]:
        """Return every place that a path means."""
        found = self._readings.get(path)
        if found is None:
            parsed = _parsed(path)
            section = self.plan.by_name.get(parsed.section)
            found = () if section is None else tuple(readings(section, parsed))
            self._readings[path] = found
        return found

    def value(self, path: str, values: Mapping[str, Any]) -> Any:
        """Return what an assignment has at a path: of a branch its name, not its label; None where it has nothing."""
        return next(reversed(self.read(path, values)), None)

    def branch(self, path: str, values: Mapping[str, Any]) -> Any:
        """Return what an assignment has at a path: of a branch its label; None where it has nothing."""
        return next(iter(self.read(path, values)), None)

    def label(self, path: str, values: Mapping[str, Any]) -> str | None:
        """Return the label of the parameter that stands at a path; None: a constant, or nothing."""
        return next((reading.label for reading in self.at(path) if reading.holds(values)), None)

    def is_stated(self, path: str, values: Mapping[str, Any]) -> bool:
        """Return whether the space writes out the setting at a path, rather than leaving it to its default."""
        *above, name = path.split(".")
        block: Any = self.plan.by_name.get(above[0])
        for step in above[1:]:
            branch = _active(block, values)
            block = None if branch is None else branch.blocks.get(step)
        branch = _active(block, values)
        return branch is not None and name in branch.settings

    def read(self, path: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what an assignment has at a path: of a branch label and name."""
        return next((reading.read(values) for reading in self.at(path) if reading.holds(values)), ())


def _active(block: Section | None, values: Mapping[str, Any]) -> Branch | None:
    if not isinstance(block, Block):
        return None
    return block.branches[0] if block.choice is None else block.branch(str(values.get(block.name)))


@cache
def _parsed(path: str) -> Path:
    parsed = read_path(path)
    if parsed is None:
        raise ValueError(f"A rule names '{path}', which is no path.")
    return parsed


@dataclass(frozen=True, slots=True)
class Broken:
    """A combination that a space can give."""

    combination: Json
    """As `forbid:` would list it."""
    values: Assignment
    """Of what decides on it."""


class _Search:
    """Looks for what breaks one rule."""

    def __init__(self, places: Places, rule: Rule) -> None:
        self.places = places
        self.plan = places.plan
        self.rule = rule

    def broken(self) -> list[Broken]:
        """Return one witness of each combination that breaks the rule and that nothing forbids."""
        if not all(self._can_pass(path, test) for path, test in self.rule.when.items()):
            return []
        own = self.own()
        found: dict[str, Broken] = {}
        tried = _assignments(self.plan, own, {one.label: self._candidates(one) for one in own})
        for assignment in chain([self.plan.default()], tried):
            combination = self.rule.broken(partial(self.places.value, values=assignment))
            if combination is None or canonical_json(combination) in found:
                continue
            is_stated = all(self.places.is_stated(path, assignment) for path in self.rule.stated)
            if is_stated and self._can_occur(assignment):
                found[canonical_json(combination)] = Broken(combination, dict(assignment))
        return list(found.values())

    def own(self) -> list[Parameter]:
        """Return the parameters that have a say in the rule, in the order of activation."""
        labels = self._closed(_labels(self.places.at(path) for path in self.rule.paths))
        return [one for one in self.plan.order if one.label in labels]

    def _can_occur(self, values: Assignment) -> bool:
        """Return whether some configuration with these values is not forbidden."""
        labels = set(values)
        tied = [(one, self._closed(_labels(self._at(test) for test in one.tests))) for one in self.plan.forbidden]
        in_question = []
        for one, others in tied:
            inside = [test for test in one.tests if set(_labels([self._at(test)])) <= labels]
            if others.isdisjoint(labels) or not all(self._holds(test, values) for test in inside):
                continue
            if others <= labels:
                return False
            in_question.append(one)
        if not in_question:
            return True
        grown = True
        while grown:
            joined = labels.union(*(others for _, others in tied if not others.isdisjoint(labels)))
            grown, labels = len(joined) > len(labels), joined
        # What is forbidden of other parameters alone leaves something of these, and so excludes nothing here.
        forbidden = [one for one, others in tied if others <= labels]
        deciding = [one for one in self.plan.order if one.label in labels]
        candidates = {one.label: self._values(one.domain, one.path) for one in deciding}
        candidates |= {label: [value] for label, value in values.items()}
        return any(
            not any(all(self._holds(test, held) for test in one.tests) for one in forbidden)
            for held in _assignments(self.plan, deciding, candidates)
        )

    def _at(self, test: When) -> tuple[Reading, ...]:
        return self.places.at(str(test.path))

    def _holds(self, test: When, values: Assignment) -> bool:
        return test.holds(self.places.read(str(test.path), values))

    def _can_pass(self, path: str, test: Any) -> bool:
        for reading in self.places.at(path):
            if reading.names is not None and any(passes(test, name) for _, name in reading.names.values()):
                return True
            if reading.names is None and reading.domain is not None:
                default = reading.domain.default
                if any(passes(test, value) for value in (*self._values(reading.domain, path), default)):
                    return True
            if reading.can_idle and passes(test, reading.idle[-1]):
                return True
        return False

    def _closed(self, labels: Iterable[str]) -> set[str]:
        """Return the labels with all that decide whether these are active."""
        every: set[str] = set()
        rest = list(labels)
        while rest:
            label = rest.pop()
            if label not in every:
                every.add(label)
                rest.extend(decided_by(self.plan.by_label[label], self.plan.by_name))
        return every

    def _candidates(self, parameter: Parameter) -> list[Any]:
        """Return the values to try: all of a choice, the ends of a range; those that fail `when` left out."""
        tests = [
            (reading, test)
            for path, test in self.rule.when.items()
            for reading in self.places.at(path)
            if reading.label == parameter.label
        ]
        values = self._values(parameter.domain, parameter.path)
        for reading, test in tests:
            values = [value for value in values if passes(test, reading.read({parameter.label: value})[-1])]
        return values

    def _values(self, domain: Domain, path: str) -> list[Any]:
        if hasattr(domain, "values"):
            return list(domain.values)
        if domain.num_values is None:
            return [domain.at(position) for position in _INNER]
        wanted = _constants(self.rule.when.get(path))
        found = [domain.at(0.0), domain.at(1.0), domain.default]
        return list(dict.fromkeys([*found, *(value for value in wanted if domain.contains(value))]))


def _constants(test: Any) -> list[Any]:
    if isinstance(test, Mapping):
        return [value for bound in test.values() for value in _constants(bound)]
    return list(test) if isinstance(test, list | tuple) else [test]


def _labels(found: Iterable[tuple[Reading, ...]]) -> Iterator[str]:
    """Yield the labels of all that these places depend on."""
    for reading in chain.from_iterable(found):
        yield from (label for label, _ in reading.guards)
        if reading.label is not None:
            yield reading.label


def _assignments(plan: Plan, parameters: list[Parameter], candidates: Mapping[str, list[Any]]) -> Iterator[Assignment]:
    """Yield every combination of the candidates of what is active; of too many, the first and as many draws."""
    every = _every(plan, parameters, candidates)
    yield from islice(every, _COMBINATIONS)
    if next(every, None) is not None:
        yield from islice(_draws(plan, parameters, candidates), _COMBINATIONS)


def _every(plan: Plan, parameters: list[Parameter], candidates: Mapping[str, list[Any]]) -> Iterator[Assignment]:
    """Yield every combination of the candidates of what is active."""
    values: Assignment = {}

    def below(index: int) -> Iterator[Assignment]:
        if index == len(parameters):
            yield values
            return
        one = parameters[index]
        if not plan.is_active(one, values):
            yield from below(index + 1)
            return
        for value in candidates[one.label]:
            values[one.label] = value
            yield from below(index + 1)
            del values[one.label]

    return below(0)


def _draws(plan: Plan, parameters: list[Parameter], candidates: Mapping[str, list[Any]]) -> Iterator[Assignment]:
    """Yield draws of the candidates of what is active, without end; those that come to a dead end are left out."""
    rng = np.random.default_rng(0)
    for positions in iter(lambda: rng.random(len(parameters)).tolist(), None):
        values: Assignment = {}
        for one, position in zip(parameters, positions, strict=True):
            if not plan.is_active(one, values):
                continue
            listed = candidates[one.label]
            if not listed:
                values = {}
                break
            values[one.label] = listed[int(position * len(listed))]
        yield values
