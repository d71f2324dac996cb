import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.data.labels import listed, sorted_naturally


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["0.5", "10", "2"], ("0.5", "2", "10")),
        (["class 10", "class 2"], ("class 2", "class 10")),
        (["b", "A", "a"], ("A", "a", "b")),
        (["x", "2", "10"], ("2", "10", "x")),
        (["True", "False"], ("False", "True")),
    ],
)
def test_labels_are_in_the_order_a_person_expects(labels, order):
    assert sorted_naturally(labels) == order


@given(labels=st.lists(st.text(min_size=1)), data=st.data())
def test_the_order_of_labels_does_not_depend_on_the_order_of_rows(labels, data):
    assert sorted_naturally(data.draw(st.permutations(labels))) == sorted_naturally(labels)


def test_many_labels_are_shortened():
    assert listed("abcdefg") == "'a', 'b', 'c', 'd', 'e' and 2 more"
