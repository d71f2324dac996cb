"""What the experience that ships is worth on data that it has not seen, in real searches.

    python -m benchmarks.shipped_experience --data DIR --out FILE.json [--set NAME] [--seeds N]

DIR is that of benchmarks.build_experience. On each set two searches of 5 trials of at most 3 epochs: by the default,
and learning from the shipped experience less the searches on that very set. Same rows, splits and probes.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import autoft
from autoft.api.experience import build_experience
from autoft.core.jsonable import Json
from benchmarks.build_experience import searched
from benchmarks.experience_sets import SETS, DataSet

BUDGET = autoft.Budget(trials=5, epochs=3)
SIDES = ("default", "learning")


def run(one: DataSet, side: str, seed: int, data: Path) -> Json:
    """Return how one search ended."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        others = Path(folder) / "others.parquet"
        if side == "learning":
            build_experience(["shipped"], out=others, without=[one.name])
        sources = [others] if side == "learning" else []
        result = searched(one, data, budget=BUDGET, learn_from=sources, seed=seed, out=f"{folder}/run")
        rows = result.rows()
    trials = [row for row in rows if row["trial"].startswith("t")]
    ranked = [row for row in trials if row["rank"] is not None]
    return {
        "data": one.name,
        "side": side,
        "seed": seed,
        "probe_val": max(row["val_accuracy"] or 0 for row in rows if row["status"] == "probe"),
        "default_val": next(row["val_accuracy"] for row in trials if row["trial"] == "t0001"),
        "best_trial_val": ranked[0]["val_accuracy"],
        "test": next(row["test_accuracy"] for row in rows if row["rank"] == 1),
        "epochs": sum(row["epochs"] or 0 for row in rows),
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> None:
    """Run the searches that FILE.json does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON file; kept and added to.")
    parser.add_argument("--set", action="append", choices=[one.name for one in SETS], help="These alone; repeatable.")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    results: list[Json] = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    done = {(one["data"], one["side"], one["seed"]) for one in results}
    chosen = [one for one in SETS if one.name in (arguments.set or ("emoji", "textile", "movie"))]
    for seed in range(arguments.seeds):
        for one in chosen:
            for side in SIDES:
                if (one.name, side, seed) not in done:
                    results.append(run(one, side, seed, arguments.data.resolve()))
                    arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
