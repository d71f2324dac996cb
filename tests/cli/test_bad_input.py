"""Mistakes that are refused before any work: exit 2, one sentence, nothing made."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoft.cli import main
from tests.conftest import write_pictures, write_texts

Refused = Callable[..., str]
TEXT_SPACE = "text-classification/quick"
SECONDS = 20
"""A refusal takes a fraction of one; the rest is patience with a busy machine."""


@pytest.fixture(autouse=True)
def warm() -> None:
    """Import what a search and a model import, so that the time of a refusal is its own."""
    import autoft.api.searching
    import autoft.artifact
    import autoft.training.worker  # noqa: F401


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    def run(*arguments: Any, out: Path | None = None) -> str:
        start = time.monotonic()
        code = main([*map(str, arguments), *(["--out", str(out)] if out is not None else [])])
        seconds = time.monotonic() - start
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if not line.startswith("[0:")]
        assert code == 2, said.err
        assert said.err.count("Error:") == 1
        assert len(lines) == 1, said.err
        assert lines[0].startswith("Error: ")
        assert lines[0].endswith((".", "?"))
        assert "Traceback" not in said.err
        assert said.out == ""
        assert seconds < SECONDS
        return lines[0].removeprefix("Error: ")

    return run


@pytest.fixture
def search(refused: Refused, pictures: Path, tiny_space: Path, tmp_path: Path) -> Refused:
    """Return a search of pictures that is refused and leaves no run folder."""

    def run(*options: Any, data: Any = None, space: Any = None) -> str:
        out = tmp_path / "runs" / "new"
        said = refused("search", data or pictures, "--space", space or tiny_space, *options, out=out)
        assert not out.parent.exists()
        return said

    return run


def table(path: Path, *rows: str, header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def good_rows(number: int = 20) -> list[str]:
    return [f"film {index} was nice,{'ab'[index % 2]}" for index in range(number)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--trials 0", "--trials must be a whole number above 0, not '0'"),
        ("--trials -1", "--trials must be a whole number above 0, not '-1'"),
        ("--trials 1.5", "not '1.5'"),
        ("--trials nan", "not 'nan'"),
        ("--trials ٣٣", "not '٣٣'"),
        (f"--trials {'9' * 5000}", "--trials must be at most 4294967295, not '99999"),
        ("--epochs 0", "--epochs must be a whole number above 0, not '0'"),
        ("--epochs 1e3", "not '1e3'"),
        ("--time 0", "--time must be above 0, not '0'"),
        ("--time inf", "--time must be a duration"),
        ("--time 30x", "--time must be a duration"),
        ("--concurrent 0", "--concurrent must be a whole number above 0"),
        ("--cpus-per-trial nan", "--cpus-per-trial must be a number above 0, not 'nan'"),
        ("--cpus-per-trial 100000", "cores, and cpus_per_trial asks for 100000"),
        ("--gpus-per-trial -1", "--gpus-per-trial must be 'auto' or a number of 0 or more, not '-1'"),
        ("--gpus-per-trial 1000", "and gpus_per_trial asks for 1000; use 'auto' to take what there is"),
        ("--seed -1", "--seed must be a whole number, not '-1'"),
        (f"--seed {2**32}", f"--seed must be at most {2**32 - 1}"),
        ("--keep 0", "--keep must be a whole number above 0"),
        ("--metric acc", "Unknown metric 'acc'. Allowed: 'accuracy'"),
        ("--metric accurcy", "Did you mean 'accuracy'?"),
        ("--metric -latency_ms --metric f1_macro", "not '-latency_ms'; give 'f1_macro' first"),
        ("--metric -accuracy", "asks to minimise accuracy, of which more is better; write 'accuracy'"),
        ("--limit parameters", "--limit must be NAME=VALUE, such as --limit parameters=10M, not 'parameters'"),
        ("--limit parameters=big", "not 'parameters=big'"),
        ("--limit parameters=0", "The limit on parameters must be a number above 0, not 0.0"),
        ("--limit latency=5", "There is no limit on 'latency'. Did you mean 'latency_ms'?"),
        ("--limit parameters=1e6 --limit parameters=2e6", "--limit gives 'parameters' twice"),
        ("--limit parameters=1k", "has more than 1,000 parameters; the smallest is timm:test_efficientnet with 99,196"),
        ("--task image-clasification", "Did you mean 'image-classification'?"),
        ("--searcher tpee", "Unknown searcher 'tpee'"),
        ("--scheduler ashaa", "Unknown scheduler 'ashaa'"),
        ("--address 127.0.0.1:1", "Nobody listens at 127.0.0.1:1 ("),
        ("--address nohost", "The address 'nohost' is neither 'auto' nor 'host:port'"),
        ("--address ray://head:10001", "`autoft submit --address http://HEAD:8265"),
        ("--address h:99999999", "is neither 'auto' nor 'host:port'"),
        ("--set optimizer.lrr=1", "optimizer.lrr is not in this space. Did you mean 'optimizer.lr'?"),
        ("--set optimizer.lr=fast", "optimizer.lr (override) must be a number above 0 and at most 10, not 'fast'"),
        ("--set optimizer.lr=.nan", "not nan"),
        ("--set optimizer.lr=-1", "not -1"),
        ("--set optimizer.lr", "--set must be path=value"),
        ("--set optimizer.lr=", "needs a value"),
        ("--set batch_size=0", "batch_size (override) must be a whole number of at least 1 and at most 65536, not 0"),
        ("--set batch_size=99999999999999999999", "at most 65536"),
        ("--set optimizer.lr=!!python/object/apply:os.system", "takes plain YAML without tags"),
        ("--set backbone.name=timm:resnet9999", "must be one of its branches"),
        ("--set data.drop_rar=true", "Did you mean 'drop_rare'?"),
        ("--set data.drop_rare=1", "data.drop_rare must be true or false, not 1"),
        ("--set data.val_fraction=0", "data.val_fraction must be between 0 and 1, not 0"),
        ("--set data.val_fraction=.nan", "data.val_fraction must be between 0 and 1, not nan"),
        ("--set data.val_fraction=true", "data.val_fraction must be a number between 0 and 1, not True"),
        ("--set data.test_fraction=0.9", "leave nothing to train on"),
        ("--set data.seed=-3", "data.seed must be a whole number from 0"),
        ("--set data.seed=true", "data.seed must be a whole number from 0"),
        ("--set data.input=[a]", "data.input must be the name of a column, not ['a']"),
        ("--target label", "--target label names a column, but"),
        ("--group camera", "--group camera names a column, but"),
        ("--val nope", "There is no file or folder 'nope'"),
        ("--test /dev/null", "'/dev/null' is not a kind of data that can be read"),
        ("--config nope.yaml", "Cannot read the configuration file 'nope.yaml'"),
        ("--task text-classification", "is image-classification, but the data are for text-classification"),
        ("--trails 3", "Unknown option '--trails' of `autoft search`. Did you mean '--trials'?"),
    ],
)
def test_an_option_that_cannot_be_obeyed(search: Refused, options: str, said: str) -> None:
    assert said in search(*options.split(" "))


@pytest.mark.parametrize("option", ["--trials", "--time", "--cpus-per-trial", "--seed", "--metric", "--task", "--val"])
def test_an_empty_option(search: Refused, option: str) -> None:
    search(option, "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nope", "There is no file or folder 'nope'."),
        ("s3://bucket/data?endpoint_override=127.0.0.1:9&scheme=http", "Could not connect to server."),
        ("/dev/zero", "'/dev/zero' is not a kind of data that can be read"),
        ("x" * 5000, "cannot be used: File name too long."),
        ("~nosuchuser/x", "There is no home folder of the user in '~nosuchuser/x'."),
        ("caf\udce9", "is not UTF-8; rename the file or folder."),
    ],
)
def test_data_that_are_nowhere(search: Refused, data: str, said: str) -> None:
    assert said in search(data=data)


def test_folders_that_cannot_be_learned_from(search: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "is empty; put one folder for each class into it" in search(data=tmp_path / "empty")
    one = write_pictures(tmp_path / "one", per_class=4)
    for label in ("blue", "green"):
        shutil.rmtree(one / label)
    assert "has only one class, 'red'" in search(data=one)
    rare = write_pictures(tmp_path / "rare", per_class=4)
    for number in (1, 2, 3):
        (rare / "red" / f"{number:03d}.png").unlink()
    assert "'red' has 1; add rows, or leave such classes out with `--set data.drop_rare=true`" in search(data=rare)
    for number in range(4):
        (rare / "blue" / f"{number:03d}.png").write_bytes(b"<svg/>")
    assert "4 of 9 rows" in search(data=rare)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "Too many levels of symbolic links" in search(data=tmp_path / "loop")
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nothing.csv")
    assert "is a link to" in search(data=tmp_path / "dangling.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty."),
        ("a.csv", b"\n\n", "is empty."),
        ("a.csv", b"text,label\n", "has no rows."),
        ("a.csv", b"text,label", "has no rows."),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0,\0\n,,,\n", "is no text: it holds zero bytes"),
        ("a.csv", "text,label\nfilm,a\n".encode("utf-16"), "`iconv -f utf-16 -t utf-8 a.csv > utf8.csv`"),
        ("a.csv", "text,label\nfilmé,a\n".encode("latin-1"), "`iconv -f latin1 -t utf-8 a.csv > utf8.csv`"),
        ("a.csv", b"text,text,label\na,b,c\n", "has two columns called 'text'; rename one of them."),
        ("a.csv", b"text,label\na,b,c\n", "cannot be read: CSV parse error: Row #2: Expected 2 columns, got 3"),
        ("a.csv", b"text,label\nfilm one,a\nfilm two,a\n", "has only one class, 'a'"),
        ("a.csv", b"text,label\nfilm one,a\nfilm two,b\n", "'a' has 1, 'b' has 1"),
        ("a.csv", b"text,label\n  ,a\n ,b\n", "row 1: the text is empty"),
        ("a.csv", b"text,label\nfilm one,\nfilm two,NA\n", "row 1: the target is missing"),
        ("a.csv", b"text,label\n1,a\n2,b\n", "No column of"),
        ("a.csv", b"film one,film two\nx y,z\n", "Say it with `--target COLUMN`"),
        ("a.csv", b"one,two,label\nfilm,movie,a\n", "Say it with `--set data.input=COLUMN`"),
        ("a.jsonl", b'{"text": "a"}\n{oops\n', "a.jsonl:2 is no JSON"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1 is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is no JSON"),
        ("a.parquet", b"text,label\n", "cannot be read"),
        ("a.xlsx", b"PK", "is not a kind of data that can be read"),
    ],
)
def test_tables_that_cannot_be_used(search: Refused, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in search(data=tmp_path / name, space=TEXT_SPACE)


def test_columns_that_do_not_fit(search: Refused, tmp_path: Path) -> None:
    data = table(tmp_path / "a.csv", *good_rows())

    def said(*options: str) -> str:
        return search(*options, data=data, space=TEXT_SPACE)

    assert "has no column 'lable' (--target). Did you mean 'label'? Its columns: text, label." in said(
        "--target", "lable"
    )
    assert "has no column 'camera' (--group)" in said("--group", "camera")
    assert "cannot be both the input and the target" in said("--target", "label", "--set", "data.input=label")
    assert "too rare to be in each of train, val and test" in said("--target", "text")
    fractions = table(tmp_path / "f.csv", *[f"film {i},{i * 0.37:.3f}" for i in range(60)])
    assert "that is a measure, not a class" in search(data=fractions, space=TEXT_SPACE)
    other = table(tmp_path / "other.csv", *[f"film {i},zzz" for i in range(5)])
    assert "have classes that the training data lack: 'zzz'; spell them as" in said("--val", str(other))
    assert "No row of the test data" in said("--test", str(other), "--set", "data.drop_rare=true")


def test_a_pipe_is_no_table(search: Refused, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is no file that can be read twice" in search(data=tmp_path / "pipe.csv", space=TEXT_SPACE)


def test_parts_of_two_forms(search: Refused, pictures: Path, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "t.csv", per_class=5)
    assert "give both in one form" in search("--val", texts)
    assert "needs a table with a column of texts" in search(data=pictures, space=TEXT_SPACE)


def test_a_run_folder_that_cannot_be(refused: Refused, pictures: Path, tiny_space: Path, tmp_path: Path) -> None:
    def said(out: Any) -> str:
        return refused("search", pictures, "--space", tiny_space, "--out", out)

    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "link").symlink_to("/nonexistent/place")
    assert "is a file; give a new folder" in said(tmp_path / "file")
    assert f"'{tmp_path / 'file'}' is a file" in said(tmp_path / "file" / "below")
    assert "is not empty; give a new one" in said(tmp_path / "full")
    assert "is not empty" in said("/")
    assert "is a link to '/nonexistent/place'" in said(tmp_path / "link")
    assert "The path is empty" in said("")
    assert "File name too long" in said(tmp_path / ("x" * 300))
    assert "Unrecognized filesystem type" in said("foo://bar/run")
    assert "'s3://' names no folder" in said("s3://")
    for inside in ("run", "red/run"):
        assert f"lies in the data folder '{pictures}'" in said(pictures / inside)
        assert not (pictures / inside).exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("- 1\n", "must be a map"),
        ("optimiser: {name: adamw}\n", "Did you mean 'optimizer'?"),
        ("batch_size: {chioce: [8]}\n", "Did you mean 'choice'?"),
        ("optimizer: {name: adanw}\n", "Did you mean 'adamw'?"),
        ("optimizer: {name: adamw, lr: {uniform: [1, 0.1]}}\n", "bounds the wrong way round"),
        ("optimizer: {name: adamw, lr: {log_uniform: [0, 0.1]}}\n", "does not start above 0"),
        ("budget: {trials: 0}\n", "budget.trials"),
        ("batch_size: &a [*a]\n", "an alias that contains itself"),
        ("description: !!python/name:os.system x\n", "takes plain YAML without tags"),
        ("batch_size: 8\nbatch_size: 9\n", "has the key 'batch_size' again"),
        ("extends: /dev/zero\n", "is no file of at most 16 MB"),
        ("extends: nope\n", "Unknown space 'nope' at extends"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("batch_size: \0\n", "is not a YAML text"),
    ],
)
def test_spaces_with_a_mistake(search: Refused, refused: Refused, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "own space é.yaml").write_text(
        text if text[:1] in ("", "[", "-") else f"task: image-classification\n{text}"
    )
    assert said in search(space=tmp_path / "own space é.yaml")
    assert said in refused("space", "check", tmp_path / "own space é.yaml")


def test_many_mistakes_are_told_together_up_to_twenty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = "".join(f"k{number}: 1\n" for number in range(50))
    (tmp_path / "s.yaml").write_text(f"task: image-classification\n{keys}")
    assert main(["space", "check", str(tmp_path / "s.yaml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Error: 50 mistakes:"
    assert lines[-1].strip() == "and 30 more."
    assert len(lines) == 22


@pytest.mark.parametrize("name", ["timm:resnet50", "hf:bert-base-uncased"])
def test_weights_of_a_hub_that_cannot_be_reached_name_the_local_option(
    search: Refused, tmp_path: Path, name: str
) -> None:
    kind = "image" if name.startswith("timm:") else "text"
    (tmp_path / "s.yaml").write_text(f"task: {kind}-classification\nbackbone: {{name: '{name}'}}\n")
    data = None if kind == "image" else write_texts(tmp_path / "t.csv", per_class=6)
    said = search(data=data, space=tmp_path / "s.yaml")
    assert "are not on this machine and the hub cannot be reached" in said
    assert "`weights: PATH`" in said


@pytest.mark.parametrize("place", ["nope", "", "/dev/null", "s3://", "~nosuchuser/run", "x" * 300])
@pytest.mark.parametrize("command", ["resume", "leaderboard", "log", "predict", "evaluate", "reproduce"])
def test_what_is_no_run_or_bundle(refused: Refused, pictures: Path, command: str, place: str) -> None:
    more: dict[str, list[Any]] = {"predict": [pictures], "evaluate": [pictures], "reproduce": ["--data", pictures]}
    refused(command, place, *more.get(command, []))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format: 99\n", "has format 99, this autoft reads up to 1; upgrade autoft to read it."),
        ("task: x\n", "it has no format version"),
        ("format: true\n", "it has no format version"),
        ("format: 1\n", "search.yaml"),
        ("format: 1\ntask: 3\nmetrics: [accuracy]\n", "'task' must be a text, not 3"),
        ("format: 1\nmetrics: [accuracy]\nbudget: {trials: many}\n", "'trials' must be a whole number or null"),
        ("[1", "is damaged"),
        ("- 1\n", "it holds no map"),
        ("!!python/object/apply:os.system ['false']\n", "is damaged"),
    ],
)
@pytest.mark.parametrize("command", ["resume", "leaderboard", "log"])
def test_a_run_whose_search_is_damaged_or_newer(
    refused: Refused, tmp_path: Path, command: str, text: str, said: str
) -> None:
    (tmp_path / "search.yaml").write_text(text)
    assert said in refused(command, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["search.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serch x", "Unknown command 'serch'. Did you mean 'search'?"),
        ("search x", "`autoft search` needs --out"),
        ("search a b --out c", "takes no further argument 'b'"),
        ("list optimzers", "Did you mean 'optimizers'?"),
        ("list backbones --task x", "Unknown task 'x' at --task"),
        ("list optimizers --search zzzz", "No optimizers match 'zzzz'"),
        ("list tasks --format yaml", "--format must be"),
        ("space show nope", "Unknown space 'nope'"),
        ("space show /etc/passwd", "must be a map"),
        ("space check image-classification/quick --seed -1", "--seed must be a whole number"),
        ("space check image-classification/quick --task text-classification", "is image-classification, but the data"),
        ("leaderboard r --top 0", "--top must be a whole number above 0"),
        ("leaderboard r --format xml", "--format must be"),
        ("reproduce x", "`autoft reproduce` needs --data"),
        ("predict x", "`autoft predict` needs INPUT"),
        ("predict x y --out z.xlsx", "--out must end in .csv, .jsonl or .parquet"),
        ("predict x y --out /nope/z.csv", "there is no folder '/nope'"),
        ("evaluate x y --format xml", "--format must be"),
    ],
)
def test_commands_that_cannot_be_obeyed(refused: Refused, words: str, said: str) -> None:
    assert said in refused(*words.split())


def test_a_demo_over_a_file(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOFT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("x")
    assert "is a file; give a new folder" in refused("demo", out=tmp_path / "file")
