"""A grid of pictures with titles, written whole or not at all."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..utils import atomic_write


def picture_grid(rows: int, titles: Sequence[str], side: float = 1.7) -> tuple[Figure, np.ndarray]:
    """Make an empty grid whose columns have titles.

    Args:
        rows: Number of rows.
        titles: One title a column.
        side: Inches a cell.

    Returns:
        Figure and axes ``(rows, len(titles))``.
    """
    figure = Figure(figsize=(side * len(titles), side * rows + 0.3), layout='constrained')
    axes = figure.subplots(rows, len(titles), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure, axes


def show(axis: Axes, image: np.ndarray, size: tuple[int, int] | None = None) -> None:
    """Draw an RGB ``image`` ``(h, w, 3)``, stretched to ``size`` (height, width) when given."""
    height, width = size or image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0), interpolation='nearest')


def save(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a figure as PNG or, by its name, as SVG; equal figures are equal files."""
    FigureCanvasAgg(figure)
    undated = None
    if Path(path).suffix == '.svg':
        undated = {'Date': None}
        _round_layout(figure)
    with atomic_write(path) as temporary, rc_context({'svg.hashsalt': 'hgkd_mm'}):
        figure.savefig(temporary, dpi=130, metadata=undated)
    return Path(path)


def _round_layout(figure: Figure) -> None:
    """Fix where axes are: the layout's last digits differ between processes, and an SVG's names are hashes of them."""
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    for axis in figure.axes:
        axis.set_position(np.round(axis.get_position().bounds, 5).tolist())
