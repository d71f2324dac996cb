"""Search on a folder of class folders and use the winner: `python examples/pictures.py FOLDER`."""

import sys
from pathlib import Path

import autoft


def main(folder: str, out: str = "runs/pictures", *, trials: int = 8, epochs: int = 6) -> autoft.SearchResult:
    result = autoft.search(
        folder,
        space="image-classification/quick",
        budget=autoft.Budget(trials=trials, epochs=epochs),
        out=out,
    )
    print(result.leaderboard().to_string(max_cols=8))
    first = next(path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    print(first, "->", result.model.predict(str(first))[0])
    return result


if __name__ == "__main__":
    main(sys.argv[1])
