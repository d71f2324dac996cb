import platform
import resource

import pytest
import torch

from autoft.training.freed import keep_freed_memory

NUM_BYTES = 256 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_that_was_freed_is_had_again_without_a_page_fault() -> None:
    keep_freed_memory()
    faults = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(NUM_BYTES, dtype=torch.uint8).fill_(1)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    assert min(faults[1:]) < NUM_BYTES // resource.getpagesize() // 20
