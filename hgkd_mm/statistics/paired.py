"""Tests on paired differences: two ways to train, each measured on the same folds with the same seeds."""

import statistics
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

#: Up to so many assignments of signs all are tried; of more, this many are drawn.
MAX_ASSIGNMENTS = 2**16


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p-value of the paired t-test; None with less than two differences, or when all are equal.

    The same as ``scipy.stats.ttest_rel``, which takes a thousand times as long.
    """
    if len(set(differences)) < 2:
        return None
    count = len(differences)
    t = statistics.fmean(differences) / (statistics.stdev(differences) / count**0.5)
    return float(2 * stdtr(count - 1, -abs(t)))


def paired_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Interval for the mean difference, by Student's t; None with less than two differences.

    Args:
        differences: One a pair.
        level: How often such intervals hold the true mean, in ``(0, 1)``.

    Returns:
        Lower and upper bound.
    """
    count = len(differences)
    if count < 2:
        return None
    mean = statistics.fmean(differences)
    margin = float(stdtrit(count - 1, (1 + level) / 2)) * statistics.stdev(differences) / count**0.5
    return mean - margin, mean + margin


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> float | None:
    """Two-sided p-value of the permutation test on the mean: each difference might as well have the other sign.

    Assumes no distribution. Exact up to 16 pairs; of more, 65,536 assignments of signs are drawn. With n pairs it is
    at least ``2 / 2**n``: five pairs never give less than 0.0625.

    Args:
        differences: One a pair.
        seed: Of the drawing.

    Returns:
        None with less than two differences.
    """
    if len(differences) < 2:
        return None
    from scipy import stats  # takes a second, which the leaderboard need not spend

    found = stats.permutation_test(
        [np.asarray(differences, dtype=float)],
        np.mean,
        permutation_type='samples',
        vectorized=True,
        n_resamples=MAX_ASSIGNMENTS,
        batch=4096,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
