"""Curves of trainings: of a pretraining run from its log, of fine-tunings from their records."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from ..errors import DataError
from ..leaderboard.collect import Table
from ..leaderboard.curves import read_scalars
from ..leaderboard.names import data_name, epochs, label, row_names
from ..leaderboard.record import PretrainingRecord, primary_metric
from .figure import save

#: Curves of pretraining runs, and what they are called.
PRETRAINING = {
    'loss': 'loss',
    'explained_variance_visible': 'explained variance, visible positions',
    'explained_variance_masked': 'explained variance, masked positions',
}


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


def draw_learning_curves(tables: Sequence[Table], out: str | os.PathLike) -> Path:
    """Plot the primary metric over the epochs of fine-tuning, a picture a table and a line a row: the mean of its runs.

    A start has one colour in all pictures. Tables of runs that were validated at their end alone have no picture,
    unless all are.

    Args:
        tables: At least one.
        out: PNG or SVG to write; the same tables give the same bytes.
    """
    tables = list(filter(_has_a_course, tables)) or tables
    names = row_names([row for table in tables for row in table.rows], short=True)
    colors = {name: f'C{number}' for number, name in enumerate(dict.fromkeys(names))}
    columns = min(2, len(tables))
    lines = math.ceil(len(tables) / columns)
    figure = Figure(figsize=(6 * columns, 3.2 * lines + 1), layout='constrained')
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    name = iter(names)
    for axis, table in zip(axes[: len(tables)], tables, strict=True):
        metric = primary_metric(table.task)
        for row in table.rows:
            curves = [{point.epoch: point.metrics[metric] for point in run.record.curve} for run in row.runs]
            start = next(name)
            axis.plot(*_mean(curves), label=start, color=colors[start], marker='.')
        title = f'{data_name(table)}\n{table.rows[0].model.name}, {epochs(table.protocol.epochs)}'
        axis.set(xlabel='epoch', ylabel=label(table, metric), title=title)
        axis.spines[['top', 'right']].set_visible(False)
    for axis in axes[len(tables) :]:
        axis.set_axis_off()
    _legend(figure)
    return save(figure, out)


def draw_pretraining_curves(starts: Mapping[str, Sequence[PretrainingRecord]], out: str | os.PathLike) -> Path:
    """Plot loss and explained variance over the epochs of pretraining, a line a start: the mean of its runs.

    Args:
        starts: Records of each start, by its name.
        out: PNG or SVG to write; the same records give the same bytes.
    """
    figure = Figure(figsize=(12, 4.8), layout='constrained')
    axes = figure.subplots(1, len(PRETRAINING))
    for axis, (name, ylabel) in zip(axes, PRETRAINING.items(), strict=True):
        for number, (start, records) in enumerate(starts.items()):
            curves = [dict(record.curves[name]) for record in records if name in record.curves]
            if curves:
                axis.plot(*_mean(curves), label=start, color=f'C{number}')  # one colour in all panels
        axis.set(xlabel='epoch', ylabel=ylabel)
        axis.spines[['top', 'right']].set_visible(False)
    _legend(figure)
    return save(figure, out)


def _has_a_course(table: Table) -> bool:
    return any(len(run.record.curve) > 1 for row in table.rows for run in row.runs)


def _legend(figure: Figure) -> None:
    """Name the lines of all panels below them, each once."""
    lines = {str(line.get_label()): line for axis in figure.axes for line in axis.lines}
    if lines:
        figure.legend(list(lines.values()), list(lines), loc='outside lower center', ncols=2, frameon=False, fontsize=8)


def _mean(curves: Sequence[Mapping[float, float]]) -> tuple[list[float], list[float]]:
    """Return the epochs that all curves have, and the mean over the curves at each."""
    shared = sorted(set.intersection(*map(set, curves)))
    return shared, [fmean(curve[epoch] for curve in curves) for epoch in shared]
