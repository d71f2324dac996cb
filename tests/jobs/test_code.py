import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import autoft
from autoft.__main__ import NEEDED
from autoft.core.errors import ConfigError
from autoft.jobs import code
from autoft.jobs.code import staged

PROGRAM = """
import autoft
from autoft.space.files import shipped_spaces
print(autoft.__version__, autoft.__file__, "image-classification/quick" in shipped_spaces())
"""


def test_what_travels_is_autoft_with_its_spaces_and_its_version_and_nothing_else() -> None:
    with staged("package", None) as folder:
        assert folder is not None
        assert sorted(path.name for path in folder.iterdir()) == ["autoft", f"autoft-{autoft.__version__}.dist-info"]
        assert not [path for path in folder.rglob("*") if path.suffix == ".pyc" or path.name == "__pycache__"]
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-c", PROGRAM],  # without any other autoft
            capture_output=True,
            text=True,
            check=False,
            env={
                "PYTHONPATH": ":".join([str(folder), *(place for place in sys.path if place.endswith("site-packages"))])
            },
        )
        assert done.stdout.split() == [autoft.__version__, str(folder / "autoft" / "__init__.py"), "True"], done.stderr
    assert not folder.exists()


def test_where_packages_are_not_installed_one_sentence_says_which() -> None:
    with staged("package", None) as folder:
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-m", "autoft", "resume", "s3://bucket/run"],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(folder)},
        )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: The Python {sys.executable} of ")
    assert f" lacks {', '.join(NEEDED)}; " in line
    assert line.endswith("or name the Python that has it: `autoft submit --python COMMAND`.")


def test_all_that_autoft_depends_on_is_looked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    depends = {re.split(r"[\[<>=]", given)[0] for given in project["dependencies"]}
    assert {name.lower().replace("_", "-") for needed in NEEDED for name in packages_distributions()[needed]} == depends
    assert len(NEEDED) == len(depends)


def test_the_same_code_has_the_same_name_and_one_changed_byte_another(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import get_uri_for_directory

    names = []
    for content in ("1", "1", "2"):
        (tmp_path / "weights.txt").write_text(content)
        with staged("package", tmp_path) as folder:
            names.append(get_uri_for_directory(str(folder), include_gitignore=True))
    assert names[0] == names[1] != names[2]


def test_a_working_folder_travels_without_what_is_no_code(tmp_path: Path) -> None:
    for name in ("mine.py", "deep/weights.bin", ".git/config", "venv/bin/python", "deep/__pycache__/mine.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with staged("installed", tmp_path) as folder:
        assert folder is not None
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["deep/weights.bin", "mine.py"]


def test_with_the_clusters_own_autoft_nothing_travels() -> None:
    with staged("installed", None) as folder:
        assert folder is None


def test_a_working_folder_that_cannot_travel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"is no folder\.$"), staged("package", tmp_path / "missing"):
        pytest.fail("it travelled")
    (tmp_path / "autoft").mkdir()
    with pytest.raises(ConfigError, match="holds an 'autoft'"), staged("package", tmp_path):
        pytest.fail("it travelled")
    shutil.rmtree(tmp_path / "autoft")
    (tmp_path / "large").write_bytes(b"x" * 11)
    monkeypatch.setattr(code, "MOST_BYTES", 10)
    with pytest.raises(ConfigError, match="has more than 0 MB, which a job server does not take"):
        staged("package", tmp_path).__enter__()
