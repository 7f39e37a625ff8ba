"""A forest plot: differences with their intervals, one below the other, beside what was asked of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from matplotlib.figure import Figure

from .figure import save

#: Colours by what was reached, and what they stand for.
COLOURS = {
    'aim': ('C2', 'aim reached'),
    'must': ('C0', 'must reached'),
    'yes': ('C9', 'within noise, as it must be'),
    'no': ('C3', 'not reached'),
    '': ('0.45', 'nothing asked'),
}


class Difference(NamedTuple):
    """A line of the plot.

    Args:
        name: Stands left of it.
        values: The differences, one a pair, in points.
        interval: Of their mean, in points.
        wanted: What must be reached and what is hoped for, in points; empty when nothing is.
        reached: A key of :data:`COLOURS`.
    """

    name: str
    values: Sequence[float]
    interval: tuple[float, float]
    wanted: Sequence[float]
    reached: str


def draw_forest(panels: Mapping[str, Sequence[Difference]], out: str | os.PathLike) -> Path:
    """Plot each difference as a mean with its interval, its pairs as small dots, what was asked as ticks.

    Args:
        panels: Lines by the title above them.
        out: PNG or SVG to write; the same lines give the same bytes.
    """
    panels = panels or {'no difference has two pairs yet': []}
    counts = [len(lines) for lines in panels.values()]
    figure = Figure(figsize=(10, 0.23 * sum(counts) + 0.7 * len(counts) + 0.7), layout='constrained')
    axes = figure.subplots(len(counts), sharex=True, squeeze=False, height_ratios=[n + 1 for n in counts]).ravel()
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for place, line in enumerate(lines):
            colour, mean = COLOURS[line.reached][0], fmean(line.values)
            axis.plot(line.values, [place] * len(line.values), '.', color=colour, alpha=0.35, markersize=5)
            axis.hlines(place, *line.interval, color=colour, linewidth=1.5)
            axis.plot(mean, place, 'o', color=colour, markersize=5)
            axis.plot(line.wanted, [place] * len(line.wanted), '|', color='black', markersize=9)
        axis.axvline(0, color='0.5', linewidth=0.8, linestyle='--')
        axis.set_yticks(range(len(lines)), [line.name for line in lines], fontsize=7)
        axis.set_ylim(max(len(lines), 1) - 0.5, -0.5)
        axis.set_title(title, fontsize=9, loc='left')
        axis.tick_params('x', labelsize=8)
        axis.spines[['top', 'right']].set_visible(False)
    axes[-1].set_xlabel('points: mean and 95 % interval; dots are pairs, ticks the must and the aim', fontsize=8)
    shown = {line.reached for lines in panels.values() for line in lines}
    for reached in (reached for reached in COLOURS if reached in shown):
        axes[0].plot([], [], 'o-', color=COLOURS[reached][0], label=COLOURS[reached][1])
    if shown:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc='outside upper right', ncols=len(shown), frameon=False, fontsize=7
        )
    return save(figure, out)
