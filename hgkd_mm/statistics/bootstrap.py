"""Uncertainty of a mean over examples that are not independent: images of the same photographed object."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean and its bounds; ``clusters`` is what stands for the size of the sample, ``examples`` what was averaged."""

    mean: float
    low: float
    high: float
    clusters: int
    examples: int


def cluster_bootstrap(
    values: Sequence[float],
    clusters: Sequence[str],
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Interval for the mean of examples that come in clusters.

    Whole clusters are drawn with replacement, so that examples of one cluster, which are right or wrong together, do
    not pass for independent ones. For a paired difference, let ``values`` be the differences of the examples. Bounds
    are bias-corrected and accelerated (``scipy.stats.bootstrap``, BCa).

    Args:
        values: One number an example: 0 or 1 for wrong and right, a difference of two of these, a mean over seeds.
        clusters: Name of each example's cluster, e.g. the identity of the photographed object.
        level: How often such intervals hold the true mean, in ``(0, 1)``.
        resamples: Number of draws.
        seed: Of the draws: the same input gives the same bounds.

    Returns:
        The interval, in the unit of ``values``. It is a point when all clusters have the same mean.

    Raises:
        ValueError: Lengths differ, or there are less than two clusters.
    """
    if len(values) != len(clusters):
        raise ValueError(f'{len(values)} values for {len(clusters)} names of clusters: one each')
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    if len(numbers) < 2:
        raise ValueError(f'{len(numbers)} cluster: nothing to estimate its spread from; expected at least 2')
    index = [numbers[name] for name in clusters]
    sums, counts = np.bincount(index, np.asarray(values, dtype=float)), np.bincount(index)
    mean = float(sums.sum() / counts.sum())
    # resampled around the mean: bounds then follow a shift of the values exactly
    rest = sums - mean * counts
    unit = float(np.abs(rest).max())
    low = high = 0.0
    if unit > 1e-12 * max(1.0, abs(mean)) * counts.max():
        low, high = _bounds(rest / unit, counts, level, resamples, seed)
    return Interval(mean, mean + unit * low, mean + unit * high, len(numbers), len(index))


def _bounds(sums: np.ndarray, counts: np.ndarray, level: float, resamples: int, seed: int) -> tuple[float, float]:
    from scipy import stats  # takes a second to import

    found = stats.bootstrap(
        (sums, counts),
        # rounded, so that draws which equal the mean, as many do of zeros and ones, are not taken for less or more
        lambda s, n, axis: np.round(s.sum(axis) / n.sum(axis), 12),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 4_000_000 // len(sums)),
        confidence_level=level,
        method='BCa',
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
