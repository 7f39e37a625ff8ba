"""Random numbers that depend on a position in the run alone, so that nothing needs to be stored to go on exactly.

The position is hashed with the run's seed into a fresh seed: for a sample by epoch and place, for a step by its number.
So a resumed run draws what an uninterrupted one draws, and the number of data loading workers changes nothing.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

#: First entropy word of a seed: streams of different kinds never meet.
SAMPLE, STEP, BETWEEN = 1, 2, 3


def seed_everything(*entropy: int) -> None:
    """Seed Python's, numpy's and torch's global generators, also those of GPUs in use.

    Args:
        entropy: Non-negative integers that name the position.
    """
    seed = _seed_of(entropy)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would take a stack trace for each GPU not in use
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextlib.contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's CPU generators for the body, then put their states back.

    Args:
        entropy: As of :func:`seed_everything`.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = _seed_of(entropy)
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _seed_of(entropy: tuple[int, ...]) -> int:
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
