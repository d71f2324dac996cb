"""Write a space in Python, search a table of texts, reproduce the winner: `python examples/own_space.py TABLE`."""

import sys

import autoft
from autoft.space import Choice, LogUniform

SPACE = autoft.SearchSpace(
    task="text-classification",
    backbone={"name": "hf:sentence-transformers/all-MiniLM-L6-v2", "max_length": Choice([32, 64])},
    finetune=Choice([{"mode": "head"}, {"mode": "full", "layer_decay": 0.9}]),
    optimizer={"name": "adamw", "lr": LogUniform(1e-5, 1e-2, prior=3e-4)},
    batch_size=16,
)


def main(table: str, out: str = "runs/own-space", *, trials: int = 6, epochs: int = 3) -> autoft.SearchResult:
    budget = autoft.Budget(trials=trials, epochs=epochs)
    result = autoft.search(table, target="label", space=SPACE, budget=budget, out=out)
    again = autoft.reproduce(f"{out}/best/config.yaml", data=table)
    print(f"{result.best.id} {'matches' if again.matches else 'does not match'} when it is trained again")
    return result


if __name__ == "__main__":
    main(sys.argv[1])
