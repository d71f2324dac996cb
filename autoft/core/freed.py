"""What the C library does with memory that is freed."""

import ctypes
import platform

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST_BLOCK = 1 << 30
"""Bytes of the largest block that is kept when it is freed."""
_NEVER = -1


def keep_freed_memory() -> None:
    """Give back what was freed so far, and from now on keep what is freed for what is asked for next.

    glibc takes every large block from the system and gives it back, so that each step of a network had its activations
    zeroed page by page anew: on pictures a third of the step. The last trial's is given back, since the next may need
    less. Another C library is left as it is.

    It holds for a process's first thread. glibc moves a thread for good to an arena of 64 MiB at most when memory could
    not be had, and in such an arena larger blocks come from the system as before: slower, not wrong.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.malloc_trim(0)
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
