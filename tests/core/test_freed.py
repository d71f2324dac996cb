import json
import platform
import resource
import subprocess
import sys

import pytest

MEGABYTES = (64, 32, 48, 16, 64, 24)
"""What each step takes, holds until its end, and frees."""
PROGRAM = f"""
import json, resource, torch
from autoft.core.freed import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.empty(size << 20, dtype=torch.uint8).fill_(1) for size in {MEGABYTES}]
    del held
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps(faults))
"""
"""In a process of its own: a thread whose allocation once failed has another arena for good, and this one's may have
been told to fail by a test before."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_steps_that_take_and_free_the_same_memory_come_to_have_it_without_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    faults = json.loads(done.stdout)
    pages = (sum(MEGABYTES) << 20) // resource.getpagesize()
    assert faults[0] >= pages
    # A first block may not fit where it lay: torch asks for aligned ones, and what is cut off may be in use by then.
    assert sum(faults[-5:]) < pages // 20
