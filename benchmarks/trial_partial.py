"""A partly frozen MiniLM: a trial whose frozen layers ran once over the rows, beside one that runs them every time."""

import statistics
from pathlib import Path

from autoft.core.jsonable import Json
from benchmarks.trial_rounds import Spec, interleaved, ratio

FROZEN_GROUPS = 5
"""Of 7: the embeddings and four of six layers."""


def measure_partial(folder: Path, *, rounds: int) -> Json:
    """Return both side by side, in rows per second of the processor; what is kept was computed before.

    Args:
        folder: What `trial_sets.make_task` wrote of texts.
        rounds: Epochs of each that count.
    """
    finetune = {"mode": "partial", "frozen_groups": FROZEN_GROUPS}
    specs = {
        name: Spec(
            name="autoft",
            kind="text",
            folder=folder,
            settings={
                "epochs": rounds + 1,
                "execution": {"dtype": "float32", "frozen_once": is_once},
                "sections": {"finetune": finetune},
            },
        )
        for name, is_once in (("kept", True), ("uncached", False))
    }
    found = interleaved(specs, rounds=rounds)
    median = {
        name: {clock: round(statistics.median(one[clock] for one in reached), 2) for clock in ("cpu", "wall")}
        for name, reached in found.items()
    }
    return {
        "frozen_groups": FROZEN_GROUPS,
        "rows_per_second": median,
        "ratio": ratio(found, "kept", "uncached"),
        "rounds": found,
    }
