"""Whether the trainings of a suite had come to an end: how far each had come at parts of it."""

from collections.abc import Sequence
from statistics import fmean

from ..leaderboard.collect import Row, Run
from ..leaderboard.curves import Curve
from ..leaderboard.names import label_percent, markdown_table, protocol_short, row_name, row_names
from ..leaderboard.record import PretrainingRecord, primary_metric
from ..visualization.curves import PRETRAINING
from .measured import PROBES, Suite, quantity

#: Parts of a training.
PARTS = {'Half': 0.5, 'Three quarters': 0.75, 'End': 1.0}
#: Curves of pretraining.
CURVES = PRETRAINING | PROBES


def render_convergence(suite: Suite) -> str:
    """Write how far every start had come at parts of its fine-tuning: means over folds and seeds."""
    lines = []
    for table in suite.tables:
        metric = primary_metric(table.task)
        name = f'{quantity(metric, label_percent(table))}, {protocol_short(table)}'
        for row, start in zip(table.rows, row_names(table.rows), strict=True):
            means = _at_parts([_tuning(run, metric) for run in row.runs], table.protocol.epochs, decimals=1)
            lines.append([name, start, *means, str(len(row.runs))])
    return markdown_table(['Fine-tuning', 'Start', *PARTS, 'n'], lines)


def render_pretraining(suite: Suite) -> str:
    """Write how far every start had come at parts of its pretraining: means over folds and seeds, a line a curve.

    A probe that was made at the end alone says nothing of the course, so it has no line here.
    """
    starts, lines = pretrained(suite), []
    names = row_names([row for row, _ in starts])
    for curve, name in CURVES.items():
        for (_, records), start in zip(starts, names, strict=True):
            known = [record for record in records if len(record.curves.get(curve, ())) > 1]
            if known:
                end = known[0].pretraining.epochs or known[0].curves[curve][-1][0]
                means = _at_parts([record.curves[curve] for record in known], end, decimals=1 if curve in PROBES else 3)
                lines.append([name, start, *means, str(len(known))])
    return markdown_table(['Pretraining', 'Start', *PARTS, 'n'], lines)


def pretrained(suite: Suite) -> list[tuple[Row, list[PretrainingRecord]]]:
    """Return every start that has records of its pretraining, with these: one for each fold and seed."""
    found = []
    for row in sorted((row for table in suite.frozen() for row in table.rows), key=row_name):
        records = [record for run in row.runs if (record := suite.pretrained(run))]
        if records:
            found.append((row, records))
    return found


def _tuning(run: Run, metric: str) -> Curve:
    return [(point.epoch, point.metrics[metric]) for point in run.record.curve]


def _at_parts(curves: Sequence[Curve], epochs: float, decimals: int) -> list[str]:
    """Write the mean over trainings of the last point until each part; empty where one of them has none."""
    means = []
    for part in PARTS.values():
        until = [[value for epoch, value in curve if epoch <= part * epochs] for curve in curves]
        means.append(f'{fmean(values[-1] for values in until):.{decimals}f}' if all(until) else '')
    return means
