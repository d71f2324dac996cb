"""The bound on a trial's threads, so that trials side by side do not fight for cores."""

import math
import os

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def limit_threads(cpus: float) -> int:
    """Bound the threads of this process to its share of cores; return their number.

    Libraries that load later read the variables; those that are loaded already (numpy's, by Ray) are told.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    number = max(1, math.floor(cpus))
    for name in VARIABLES:
        os.environ[name] = str(number)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if number > 1 else "false"
    threadpool_limits(limits=number)
    return number
