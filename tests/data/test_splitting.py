from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from autoft.data.splitting import occurrences, rank, sizes, split_groups, split_rows

FRACTIONS = {"train": Fraction(3, 5), "val": Fraction(1, 5), "test": Fraction(1, 5)}
COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 40), min_size=2)
SEEDS = st.integers(0, 2**32)


def rows_of(counts: dict[str, int]) -> tuple[list[str], list[str]]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return labels, [f"{label}{index % 7}" for index, label in enumerate(labels)]


def test_ten_rows_split_six_two_two():
    assert sizes(10, FRACTIONS, ["train", "val", "test"]) == {"train": 6, "val": 2, "test": 2}


def test_the_largest_remainder_gets_the_row_that_is_left():
    assert sizes(9, FRACTIONS, ["train", "val", "test"]) == {"train": 5, "val": 2, "test": 2}


def test_three_rows_go_one_to_each_split():
    assert sizes(3, FRACTIONS, ["train", "val", "test"]) == {"train": 1, "val": 1, "test": 1}


@given(total=st.integers(3, 10_000))
def test_sizes_add_up_and_are_within_a_row_of_their_share_where_none_would_be_empty(total):
    counts = sizes(total, FRACTIONS, ["train", "val", "test"])
    assert sum(counts.values()) == total
    assert min(counts.values()) >= 1
    if total >= 5:
        assert all(abs(counts[split] - FRACTIONS[split] * total) < 1 for split in FRACTIONS)


@given(counts=COUNTS, seed=SEEDS)
def test_every_class_is_in_every_split_with_its_exact_size(counts, seed):
    labels, contents = rows_of(counts)
    found = Counter(zip(labels, split_rows(labels, contents, FRACTIONS, seed), strict=True))
    for label, count in counts.items():
        by_split = {split: found[label, split] for split in FRACTIONS}
        assert sorted(by_split.values()) == sorted(sizes(count, FRACTIONS, list(FRACTIONS)).values())
        assert min(by_split.values()) >= 1


@given(counts=COUNTS, seed=SEEDS, data=st.data())
def test_the_order_of_the_rows_does_not_change_what_lies_in_a_split(counts, seed, data):
    labels, contents = rows_of(counts)
    order = data.draw(st.permutations(range(len(labels))))
    straight = Counter(zip(labels, contents, split_rows(labels, contents, FRACTIONS, seed), strict=True))
    labels, contents = [labels[i] for i in order], [contents[i] for i in order]
    assert Counter(zip(labels, contents, split_rows(labels, contents, FRACTIONS, seed), strict=True)) == straight


def test_another_seed_gives_another_split():
    labels, contents = rows_of({"a": 40, "b": 40})
    assert split_rows(labels, contents, FRACTIONS, 0) != split_rows(labels, contents, FRACTIONS, 1)


def test_the_split_is_pinned_for_every_machine():
    labels, contents = ["a"] * 5 + ["b"] * 5, [f"row {index}" for index in range(10)]
    assert split_rows(labels, contents, FRACTIONS, 0) == PINNED


PINNED = ["val", "train", "train", "test", "train", "train", "val", "train", "test", "train"]


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("pqrstuvwxyz")), min_size=1, max_size=80),
    seed=SEEDS,
)
def test_no_group_lies_in_two_splits(rows, seed):
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    homes = {}
    for group, split in zip(groups, split_groups(labels, groups, FRACTIONS, seed), strict=True):
        assert homes.setdefault(group, split) == split


@given(counts=st.lists(st.integers(1, 9), min_size=3, max_size=12), seed=SEEDS)
def test_three_groups_of_a_class_reach_every_split(counts, seed):
    labels = [label for label in "ab" for count in counts for _ in range(count)]
    groups = [f"{label}{number}" for label in "ab" for number, count in enumerate(counts) for _ in range(count)]
    found = set(zip(labels, split_groups(labels, groups, FRACTIONS, seed), strict=True))
    assert found == {(label, split) for label in "ab" for split in FRACTIONS}


@given(seed=SEEDS, data=st.data())
def test_the_order_of_the_rows_does_not_change_where_a_group_goes(seed, data):
    labels = [label for label in "ab" for _ in range(30)]
    groups = [f"{index % 13}" for index in range(60)]
    homes = dict(zip(groups, split_groups(labels, groups, FRACTIONS, seed), strict=True))
    order = data.draw(st.permutations(range(60)))
    labels, groups = [labels[i] for i in order], [groups[i] for i in order]
    assert dict(zip(groups, split_groups(labels, groups, FRACTIONS, seed), strict=True)) == homes


@given(seed=SEEDS)
def test_groups_of_one_size_come_near_the_exact_shares(seed):
    labels = ["a", "b"] * 100
    groups = [str(index // 2) for index in range(200)]
    assert Counter(split_groups(labels, groups, FRACTIONS, seed)) == {"train": 120, "val": 40, "test": 40}


def test_equal_rows_are_told_apart_by_how_often_they_came_before():
    assert occurrences(["x", "y", "x", "x"]) == [0, 0, 1, 2]


def test_ranks_tell_parts_apart():
    assert rank(0, "ab", "c") != rank(0, "a", "bc")
