"""Seeds derived by name, so that one draw more in one place changes no other."""

import hashlib

import numpy as np


def derive_seed(seed: int, *labels: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on `seed` and the labels alone, on any machine."""
    text = "\x1f".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *labels: str | int) -> np.random.Generator:
    """Return a numpy generator seeded by `derive_seed(seed, *labels)`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *labels)))
