"""Rows to train, val and test: stratified by label, whole by group, from the seed and the content alone.

No generator is drawn from: rows and groups are ranked by SHA-256 of the seed and what they hold, so the split is the
same on every machine, with every version of numpy, and in whatever order the rows come.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction

Fractions = Mapping[str, Fraction]
"""Share of each split; they add up to 1."""


def rank(seed: int, *parts: str | int) -> str:
    """Return a text that orders things at random, from the seed and what they hold."""
    return hashlib.sha256("\x1f".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")).hexdigest()


def occurrences(keys: Sequence[Hashable]) -> list[int]:
    """Return for each key how often it came before, so that equal rows are told apart."""
    seen: Counter[Hashable] = Counter()
    found = []
    for key in keys:
        found.append(seen[key])
        seen[key] += 1
    return found


def sizes(total: int, fractions: Fractions, order: Sequence[str]) -> dict[str, int]:
    """Return the rows of each split by the largest remainder, at least one each.

    Args:
        total: Rows in all, at least as many as there are splits.
        fractions: Share of each split.
        order: The splits; of equal remainders the first gets the row.
    """
    exact = {split: fractions[split] * total for split in order}
    counts = {split: int(share) for split, share in exact.items()}
    by_remainder = sorted(order, key=lambda split: counts[split] - exact[split])
    for split in by_remainder[: total - sum(counts.values())]:
        counts[split] += 1
    for split in order:
        if counts[split] == 0:
            largest = max(order, key=lambda other: counts[other])
            counts[largest] -= 1
            counts[split] += 1
    return counts


def split_rows(labels: Sequence[str], contents: Sequence[str], fractions: Fractions, seed: int) -> list[str]:
    """Return the split of each row: every class in every split, with the sizes of `sizes`.

    Args:
        labels: One of each row; each at least as often as there are splits.
        contents: What a row holds, as its hash.
        fractions: Share of each split.
        seed: Of the split.
    """
    keys = list(zip(labels, contents, strict=True))
    ranks = [
        rank(seed, label, content, number) for (label, content), number in zip(keys, occurrences(keys), strict=True)
    ]
    members: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(labels)), key=ranks.__getitem__):
        members[labels[index]].append(index)
    assigned = [""] * len(labels)
    for label, indices in members.items():
        order = sorted(fractions, key=lambda split: rank(seed, label, split))
        counts = sizes(len(indices), fractions, order)
        start = 0
        for split in fractions:
            for index in indices[start : start + counts[split]]:
                assigned[index] = split
            start += counts[split]
    return assigned


def split_groups(labels: Sequence[str], groups: Sequence[str], fractions: Fractions, seed: int) -> list[str]:
    """Return the split of each row, with no group in two splits.

    The groups of the rarest classes are placed first, one into each split that lacks the class; then all others, the
    largest first, each where the numbers of its classes come nearest to their shares. The caller looks whether every
    class came to be in every split: with whole groups that is not always possible.

    Args:
        labels: One of each row.
        groups: One of each row.
        fractions: Share of each split.
        seed: Of the split.
    """
    return _Placement(labels, groups, fractions, seed).run(groups)


class _Placement:
    """Groups on their way into splits."""

    def __init__(self, labels: Sequence[str], groups: Sequence[str], fractions: Fractions, seed: int) -> None:
        self.splits = list(fractions)
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        for label, group in zip(labels, groups, strict=True):
            self.counts[group][label] += 1
        self.totals = Counter(labels)
        self.wanted = {
            split: {label: float(share * total) for label, total in self.totals.items()}
            for split, share in fractions.items()
        }
        self.placed: dict[str, Counter[str]] = {split: Counter() for split in self.splits}
        self.home: dict[str, str] = {}
        ranks = {group: rank(seed, group) for group in self.counts}
        self.order = sorted(self.counts, key=lambda group: (-self.counts[group].total(), ranks[group]))

    def run(self, groups: Sequence[str]) -> list[str]:
        self._cover()
        for group in self.order:
            if group not in self.home:
                self._put(group, min(self.splits, key=lambda split: self._cost(group, split)))
        return [self.home[group] for group in groups]

    def _cover(self) -> None:
        having: dict[str, list[str]] = defaultdict(list)
        for group in self.order:
            for label in self.counts[group]:
                having[label].append(group)
        for label in sorted(having, key=lambda label: (len(having[label]), label)):
            for split in reversed(self.splits):
                free = [group for group in having[label] if group not in self.home]
                if free and not self.placed[split][label]:
                    self._put(min(free, key=lambda group: self._cost(group, split)), split)

    def _put(self, group: str, split: str) -> None:
        self.home[group] = split
        self.placed[split].update(self.counts[group])

    def _cost(self, group: str, split: str) -> float:
        """Return how much the squared distance from the wanted shares grows, classes weighing the same."""
        placed, wanted = self.placed[split], self.wanted[split]
        return sum(
            count * (count + 2 * (placed[label] - wanted[label])) / self.totals[label] ** 2
            for label, count in self.counts[group].items()
        )
