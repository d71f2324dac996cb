import json
import platform
import resource
import subprocess
import sys

import pytest

NUM_BYTES = 256 << 20
PROGRAM = f"""
import json, resource, torch
from autoft.training.freed import keep_freed_memory

keep_freed_memory()
faults = []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty({NUM_BYTES}, dtype=torch.uint8).fill_(1)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps(faults))
"""
"""In a process of its own: a thread whose allocation once failed has another arena for good, and this one's may have
been told to fail by a test before."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_that_was_freed_is_had_again_without_a_page_fault() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    faults = json.loads(done.stdout)
    assert min(faults[1:]) < NUM_BYTES // resource.getpagesize() // 20
