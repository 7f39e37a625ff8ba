"""The leaderboard as JSON, for programs."""

import json
from collections.abc import Sequence
from typing import Any

from ... import __version__
from ..collect import SCRATCH, SPARK, Found, Row, Table
from ..names import rounded
from ..record import METRICS
from ..reported import Reported, state_of


def render_json(tables: Sequence[Table], found: Found, reported: Sequence[Reported]) -> str:
    """Render tables with their rows, best first, reported numbers apart, and the files that were left out."""
    content = {
        'hgkd_mm': __version__,
        'tables': [
            {
                'task': table.task,
                'dataset': table.dataset.model_dump(exclude_none=True),
                'folds': table.folds,
                'protocol': table.protocol.model_dump(exclude_none=True),
                'unit': 'percent',
                'chance': table.chance,
                'rows': [{'rank': rank, **_row(table, row, found)} for rank, row in enumerate(table.rows, 1)],
            }
            for table in tables
        ],
        'reported': [
            {**entry.model_dump(exclude_none=True), 'state': state_of(entry, tables).name} for entry in reported
        ],
        'left_out': found.problems,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _row(table: Table, row: Row, found: Found) -> dict[str, Any]:
    return {
        'method': row.method,
        'pretraining': row.pretraining and row.pretraining.model_dump(exclude_none=True),
        'model': row.model.model_dump(exclude_none=True),
        'metrics': {
            metric: {
                'label': METRICS[table.task][metric].label,
                'mean': rounded(row.mean(metric)),
                'std': rounded(row.std(metric)),
                'gain_over_scratch': _gain(table, row, metric, SCRATCH),
                'gain_over_spark': _gain(table, row, metric, SPARK),
            }
            for metric in row.metrics
        },
        'latency': [timing.model_dump(mode='json') for timing in found.latency(row)],
        'runs': [
            {
                'record': run.path.as_posix(),
                'seed': run.record.seed,
                'fold': run.record.dataset.fold,
                'metrics': run.record.metrics,
                'cost': run.record.cost.model_dump(exclude_none=True),
            }
            for run in row.runs
        ],
    }


def _gain(table: Table, row: Row, metric: str, over: str) -> dict[str, Any] | None:
    gain = table.gain(row, metric, over)
    return gain and {'value': rounded(gain.value), 'pairs': gain.pairs, 'p': gain.p}
