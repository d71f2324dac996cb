"""cluster/README.md: what it names is there, and its lines of autoft are lines that autoft takes."""

import re
from pathlib import Path

from tests.cluster.files import CLOUDS, CLUSTER, ROOT, documents

README = (CLUSTER / "README.md").read_text()
HELP = ROOT / "tests" / "cli" / "help"


def autoft_lines() -> list[str]:
    """Return what is called of autoft in cluster/, from the command's name on."""
    sources = [README, documents("kubernetes/rayjob.yaml")[0]["spec"]["entrypoint"], (CLUSTER / "slurm.sh").read_text()]
    calls = [
        call
        for text in sources
        for call in re.findall(r"(?:autoft|slurm\.sh) ((?:search|resume|leaderboard) [^'\n`]*)", text)
    ]
    assert len(calls) >= 10
    return calls


def test_every_option_of_a_line_of_autoft_is_one_of_its_command() -> None:
    for line in autoft_lines():
        command, *rest = line.split()
        known = set(re.findall(r"--[a-z][a-z-]+", (HELP / f"autoft-{command}.txt").read_text()))
        assert {word for word in rest if word.startswith("--")} <= known, line


def test_no_line_calls_a_command_that_does_not_exist() -> None:
    commands = {path.stem.removeprefix("autoft-") for path in HELP.glob("autoft-*.txt")}
    called = set(re.findall(r"(?:^|[`'] ?|-- )autoft ([a-z]+)\b", README, re.M))
    assert called
    assert called <= commands


def test_every_ray_that_it_starts_asks_for_the_token() -> None:
    blocks = [block for block in re.findall(r"^```\n(.*?)^```", README, re.M | re.S) if "ray start" in block]
    assert len(blocks) == 2
    for block in blocks:
        assert re.match(r"export RAY_AUTH_MODE=token[ \n]", block)


def test_a_run_is_copied_into_a_folder_that_a_line_before_has_made() -> None:
    found = [*re.finditer(r"^ray rsync-down \S+ \S+ (\S+)$", README, re.M)]
    assert found
    for line in found:
        made = re.findall(r"^mkdir -p (\S+)$", README[: line.start()], re.M)
        assert str(Path(line[1]).parent) in made, line[0]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", README):
        assert (CLUSTER / target).exists(), target


def test_every_file_of_the_folder_is_named() -> None:
    named = {path.name for path in CLUSTER.rglob("*.*") if "__pycache__" not in path.parts} | {"Dockerfile"}
    for name in named - {"README.md", "Dockerfile.dockerignore"}:
        assert name in README, name


def test_every_file_that_a_line_takes_is_there() -> None:
    for name in re.findall(r"cluster/[\w./]+\w", README):
        for path in [name.replace("CLOUD", cloud) for cloud in CLOUDS] if "CLOUD" in name else [name]:
            assert (ROOT / path).exists(), path


def test_it_says_what_forgetting_costs_on_each() -> None:
    assert README.count("**What it costs to forget that.**") == 3
    assert "what it costs to forget it is your share" in README
