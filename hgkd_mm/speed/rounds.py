"""Timing of variants that take turns, so that whatever else a machine does hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar('Name', bound=Hashable)


def median_seconds(variants: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, float]:
    """Time every variant once a round, after one round to warm up.

    Args:
        variants: By name, what to time.
        rounds: Number of rounds, 1 or more.

    Returns:
        Median seconds by name.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}
