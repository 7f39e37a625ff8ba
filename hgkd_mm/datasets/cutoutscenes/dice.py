"""Random choices that every machine and every NumPy makes alike."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar('T')


class Dice:
    """A random generator of its own for every scene, so that no order of work changes a scene.

    Only raw 53-bit uniforms are drawn and turned into choices by additions and multiplications,
    which IEEE arithmetic makes exact; NumPy promises no stable stream for its other distributions.

    Args:
        key: Whole numbers >= 0 that name the scene, such as (seed, fold, split, index).
    """

    def __init__(self, *key: int) -> None:
        self._random = np.random.default_rng(list(key)).random

    def uniform(self, low: float, high: float) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * float(self._random())

    def chance(self, probability: float) -> bool:
        """Draw whether something happens."""
        return float(self._random()) < probability

    def pick(self, items: Sequence[T]) -> T:
        """Draw one item."""
        return items[int(len(items) * float(self._random()))]

    def shuffle(self, items: Sequence[T]) -> list[T]:
        """Give the items in random order."""
        return [items[i] for i in np.argsort(self._random(len(items)), kind='stable')]
