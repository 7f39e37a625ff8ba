"""Correction for looking at several comparisons at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979).

    Whoever calls a comparison real when its adjusted p is below 0.05 makes, in all of them together, at least one false
    claim with a probability of at most 0.05, however the comparisons depend on one another.

    Args:
        p_values: In ``[0, 1]``.

    Returns:
        The adjusted values, in the same order.

    Raises:
        ValueError: A p-value is not in ``[0, 1]``.
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f'p-values are in [0, 1]; found {list(p_values)}')
    order = values.argsort(kind='stable')
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * factors))
    return adjusted.tolist()
