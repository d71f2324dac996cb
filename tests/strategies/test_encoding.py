import numpy as np
import pytest

from autoft.space import Choice, IntUniform, SearchSpace, Uniform
from autoft.strategies.encoding import Encoding, is_ordered
from tests.strategies.worlds import branching_space

SPACE = branching_space()


def test_numbers_take_one_column_and_choices_one_for_each_value():
    encoding = Encoding(SPACE)
    widths = {one.label: int((encoding.groups_C == number).sum()) for number, one in enumerate(SPACE.parameters)}
    assert widths["optimizer"] == widths["backbone"] == 2
    assert widths["batch_size"] == widths["optimizer[sgd].momentum"] == 1


def test_two_values_of_a_choice_lie_one_apart():
    encoding = Encoding(SearchSpace(task="image-classification", backbone=Choice(["timm:resnet18", "timm:resnet34"])))
    one, other = encoding.encode([{"backbone": "timm:resnet18"}, {"backbone": "timm:resnet34"}])
    assert np.linalg.norm(one - other) == pytest.approx(1.0)


def test_what_is_not_active_changes_no_row():
    encoding = Encoding(SPACE)
    default = SPACE.default()
    column = next(i for i, one in enumerate(SPACE.parameters) if one.label == "optimizer[sgd].lr")
    assert encoding.encode([default])[0][encoding.groups_C == column] == [0.5]


def test_a_position_is_read_back_as_the_assignment_with_exactly_its_active_parameters():
    encoding = Encoding(SPACE)
    rng = np.random.default_rng(0)
    for _ in range(50):
        assignment = SPACE.sample(rng)
        again = encoding.decode(encoding.positions(assignment))
        assert again == pytest.approx(assignment)
        SPACE.validate(again)


@pytest.mark.parametrize(
    ("domain", "ordered"),
    [
        (Choice([16, 32, 64]), True),
        (Choice([64, 16]), False),
        (Choice([False, True]), False),
        (Choice(["a", "b"]), False),
        (Uniform(0.0, 1.0), True),
        (IntUniform(1, 3), True),
    ],
)
def test_only_rising_numbers_are_ordered(domain, ordered):
    assert is_ordered(domain) is ordered


def test_active_positions_are_those_of_the_assignments_in_which_a_parameter_is_active():
    space = branching_space()
    encoding = Encoding(space)
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    for _ in range(2):
        found = encoding.active_positions(drawn)
        for parameter, positions_N in zip(encoding.parameters, found, strict=True):
            label = parameter.label
            expected = [parameter.domain.position(one[label]) for one in drawn if label in one]
            assert positions_N.tolist() == expected
    assert [len(positions_N) for positions_N in encoding.active_positions([])] == [0] * len(encoding.parameters)
