"""Curves of a pretraining run, from its log."""

import json
import math
import os
from pathlib import Path
from statistics import fmean

from ..errors import DataError

#: What training logs, by iteration. What else is taken begins with ``val/``, is logged by epoch and keeps its name.
TRAINING = ('loss', 'explained_variance_visible', 'explained_variance_masked')
EVALUATION = 'val/'
MAX_POINTS = 200

Curve = list[tuple[float, float]]


def read_scalars(work_dir: str | os.PathLike) -> list[dict]:
    """Return the logged lines of all (resumed) runs in a work dir, in order.

    Raises:
        DataError: There is no log.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text(encoding='utf-8').splitlines() if line]
    if not lines:
        raise DataError(f'{work_dir} has no */vis_data/scalars.json: expected the work dir of a training run')
    return lines


def pretraining_curves(work_dir: str | os.PathLike, batches: int) -> dict[str, Curve]:
    """Read a run's curves; a resumed run's later log counts where both have a value.

    Args:
        work_dir: Of the run.
        batches: Of an epoch.

    Returns:
        Points (epoch, value) by name, at most 200 a curve; empty without a log.
    """
    try:
        lines = read_scalars(work_dir)
    except DataError:
        return {}
    curves = {}
    evaluated = sorted({name for line in lines for name in line if name.startswith(EVALUATION)})
    for logged in (*TRAINING, *evaluated):
        scale = 1 if logged.startswith(EVALUATION) else batches
        points = {line['step'] / scale: float(line[logged]) for line in lines if logged in line}
        finite = [(x, y) for x, y in sorted(points.items()) if math.isfinite(y)]
        if finite:
            curves[logged.removeprefix(EVALUATION)] = thin(finite)
    return curves


def thin(points: Curve, limit: int = MAX_POINTS) -> Curve:
    """Average neighbouring points until at most ``limit`` are left."""
    size = math.ceil(len(points) / limit)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(round(fmean(x for x, _ in group), 4), round(fmean(y for _, y in group), 6)) for group in groups]
