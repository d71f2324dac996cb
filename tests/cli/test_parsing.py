import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from autoft.cli import parsing
from autoft.core.errors import ConfigError, SpaceError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("90s", 90),
        ("240", 240),
        ("1.5h", 5400),
        ("0.5", 0.5),
        ("1d", 86400),
        ("1d2h3m4s", 93784),
        ("1 h 30 m", 5400),
        ("2H", 7200),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parsing.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "30x", "m30", "1m1h", "1m1m", "-5", "0", "0m", "nan", "inf", "1h30", "1:30"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be"):
        parsing.duration(text)


@given(st.integers(0, 400), st.integers(0, 59), st.integers(1, 59))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    assert parsing.duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "a", "", "1e3", "²"])
def test_a_count_is_a_whole_number_above_0(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be a whole number above 0"):
        parsing.count(text)


def test_whole_numbers_may_be_0() -> None:
    assert [parsing.whole_number("0"), parsing.whole_number("12")] == [0, 12]


@pytest.mark.parametrize("text", ["0", "-0.5", "nan", "inf", "x"])
def test_a_positive_number_is_finite_and_above_0(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be a number above 0"):
        parsing.positive(text)


def test_gpus_are_auto_or_a_share() -> None:
    assert [parsing.gpus("auto"), parsing.gpus("0"), parsing.gpus("0.5")] == ["auto", 0.0, 0.5]
    with pytest.raises(typer.BadParameter, match="'auto' or a number of 0 or more, not 'all'"):
        parsing.gpus("all")


def test_a_choice_names_what_is_allowed_and_the_nearest() -> None:
    parse = parsing.choice("table", "json")
    assert parse("json") == "json"
    with pytest.raises(typer.BadParameter, match=r"must be 'table' or 'json', not 'tabel'\. Did you mean 'table'\?"):
        parse("tabel")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3", 3),
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("adamw", "adamw"),
        ("'1e-5'", "1e-5"),
        ("[16, 32]", [16, 32]),
        ("{log_uniform: [1e-5, 1e-3], prior: 1e-4}", {"log_uniform": [1e-5, 1e-3], "prior": 1e-4}),
        ("timm:resnet18", "timm:resnet18"),
        ("a=b", "a=b"),
    ],
)
def test_a_setting_is_read_as_a_space_reads_it(text: str, value: object) -> None:
    assert parsing.settings([f"a.b={text}"]) == {"a.b": value}


def test_settings_keep_their_paths_and_branches() -> None:
    given = ["optimizer[sgd].lr=0.1", "batch_size=16", "data.drop_rare=true", "optimizer[my run].lr=1"]
    assert parsing.settings(given) == {
        "optimizer[sgd].lr": 0.1,
        "batch_size": 16,
        "data.drop_rare": True,
        "optimizer[my run].lr": 1,
    }


@pytest.mark.parametrize("text", ["lr", "=1", "a b=1", "a[=1", ".lr=1", "1=1"])
def test_a_setting_that_is_no_path_and_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set must be path=value"):
        parsing.settings([text])


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set optimizer.lr= needs a value"):
        parsing.settings(["optimizer.lr="])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set gives 'optimizer.lr' twice"):
        parsing.settings(["optimizer.lr=1", "optimizer.lr=2"])


def test_a_setting_that_is_no_yaml_names_itself() -> None:
    with pytest.raises(SpaceError, match=r"--set optimizer.lr"):
        parsing.settings(["optimizer.lr={choice: ["])
