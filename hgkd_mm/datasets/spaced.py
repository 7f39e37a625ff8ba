"""A few samples that stand for a whole data set."""

import numpy as np


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return ``count`` places in a sequence, from its first to its last; of a shorter sequence some are repeated."""
    return np.linspace(0, length - 1, count).round().astype(int).tolist()
