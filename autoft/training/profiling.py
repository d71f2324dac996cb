"""A profiler's trace of some updates."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

Keep = Callable[[bytes], None]
"""Takes a trace: JSON as chrome://tracing and Perfetto read it, gzipped."""

FIRST_UPDATES = 3
"""Updates that are not in the trace, where there are more: the first ones fill caches."""
MOST_UPDATES = 32
"""Updates in the trace; it holds about 1 MB of JSON for each."""


@contextmanager
def traced(num_updates: int, keep: Keep) -> Iterator[Callable[[], None]]:
    """Profile the block, which calls what it gets after each of its `num_updates` updates; `keep` takes the trace."""

    def finish(profiler: profile) -> None:
        with tempfile.TemporaryDirectory(prefix="autoft-trace-") as folder:
            path = Path(folder) / "trace.json.gz"
            profiler.export_chrome_trace(str(path))
            keep(path.read_bytes())

    skipped = min(FIRST_UPDATES, num_updates - 1)
    active = min(MOST_UPDATES, num_updates - skipped)
    steps = schedule(wait=skipped - 1, warmup=1, active=active, repeat=1) if skipped else None
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=activities, schedule=steps, on_trace_ready=finish, record_shapes=True) as profiler:
        yield profiler.step
