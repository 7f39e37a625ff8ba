"""Curves of a pretraining run from its log."""

import os
from pathlib import Path

from matplotlib.figure import Figure

from ..errors import DataError
from ..leaderboard.curves import read_scalars
from .figure import save


def draw_explained_variance(work_dir: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Plot how much of the teacher's tokens the student explains; 0 is the mean token.

    Args:
        work_dir: Work dir of a distillation run.
        out: PNG to write.

    Raises:
        DataError: No log, or none of a distillation run.
    """
    lines = read_scalars(work_dir)
    figure = Figure(figsize=(6, 3.4), layout='constrained')
    axis = figure.subplots()
    drawn = False
    for part in ('visible', 'masked'):
        key = f'explained_variance_{part}'
        points = {line['step']: line[key] for line in lines if key in line}
        if points:
            axis.plot(list(points), list(points.values()), label=f'{part} positions')
            drawn = True
    if not drawn:
        raise DataError(f'{work_dir}: the log has no explained_variance_*: expected a distillation run')
    axis.axhline(0, color='0.5', linewidth=0.8, linestyle='--', label='mean token')
    axis.set(xlabel='iteration', ylabel='explained variance', title='Student prediction of the teacher tokens')
    axis.legend(frameon=False)
    axis.spines[['top', 'right']].set_visible(False)
    return save(figure, out)
