"""Every block of docs/ and the README's example run as they stand, and what the pages name is there."""

import re
import shlex
from pathlib import Path

import pytest

from autoft.cli import main
from tests.conftest import write_pictures, write_texts

ROOT = Path(__file__).parents[2]
HELP = ROOT / "tests" / "cli" / "help"
PAGES = [
    ROOT / "docs" / f"{name}.md" for name in ("searching", "runs", "cluster", "spaces", "data", "benchmarks", "scaling")
]
"""In the order in which a reader meets them: a page may speak of a run that an earlier page made; one may be prose."""
BLOCK = re.compile(r"^```(console|python|yaml file=(\S+))\n(.*?)^```", re.M | re.S)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with the data that the pages speak of."""
    pictures, classes = tmp_path / "textile", ("global", "local", "nominal")
    write_pictures(pictures, per_class=20, classes=classes)
    # Half of them under a wrong name: where every trial is right in all, there is nothing to choose and to learn.
    for index in range(10, 20):
        contents = [(pictures / label / f"{index:03d}.png").read_bytes() for label in classes]
        for label, content in zip(classes, [*contents[1:], contents[0]], strict=True):
            (pictures / label / f"{index:03d}.png").write_bytes(content)
    write_texts(tmp_path / "reviews.csv", per_class=20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_of_the_pages_runs(desk: Path, ray_cluster: None) -> None:
    names: dict[str, object] = {}
    blocks = [(page.name, *block) for page in PAGES for block in BLOCK.findall(page.read_text())]
    assert len(blocks) >= 10
    for page, kind, file, body in blocks:
        if file:
            (desk / file).write_text(body)
        elif kind == "python":
            exec(compile(body, page, "exec"), names)
        else:
            for line in body.splitlines():
                assert line.startswith("$ autoft ")
                assert main(shlex.split(line)[2:]) == 0, line


def test_the_readmes_example_runs_with_a_smaller_budget(desk: Path, ray_cluster: None) -> None:
    ((kind, _, body),) = BLOCK.findall((ROOT / "README.md").read_text())
    assert kind == "python"
    small = body.replace("trials=8, epochs=6", "trials=1, epochs=1")
    assert small != body
    exec(compile(small, "README.md", "exec"), {})
    assert (desk / "runs" / "textile" / "best" / "config.yaml").exists()


def test_every_page_is_among_those_that_run() -> None:
    assert sorted(PAGES) == sorted((ROOT / "docs").glob("*.md"))


def test_each_block_with_a_language_is_of_a_kind_that_runs() -> None:
    for page in PAGES:
        text = page.read_text()
        assert len(re.findall(r"^ *(?:```|~~~)\S", text, re.M)) == len(BLOCK.findall(text)), page.name


def test_every_option_of_a_line_of_autoft_that_needs_a_cluster_is_one_of_its_command() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    lines = re.findall(r"^autoft (.*)", text, re.M)
    assert {line.split()[0] for line in lines} == {"search", "submit", "status", "logs", "fetch", "stop"}
    for line in lines:
        for part in line.split(" -- "):
            command, *rest = part.split()
            known = set(re.findall(r"--?[a-z][a-z-]*", (HELP / f"autoft-{command}.txt").read_text()))
            assert {word for word in rest if word.startswith("-")} <= known, line


def test_the_benchmarks_and_results_that_pages_name_are_there() -> None:
    text = "\n".join(page.read_text() for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
    commands = set(re.findall(r"python -m (benchmarks\.\w+)", text))
    results = set(re.findall(r"\bbenchmarks/results/\w+\.\w+", text))
    assert {"benchmarks.recipe", "benchmarks/results/recipe.json"} <= commands | results
    for name in [*(command.replace(".", "/") + ".py" for command in commands), *results]:
        assert (ROOT / name).is_file(), name


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
