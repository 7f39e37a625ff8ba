"""The leaderboard as CSV: a line for every metric of every row."""

import csv
import io
from collections.abc import Sequence

from ..collect import SCRATCH, SPARK, Found, Table
from ..names import rounded

COLUMNS = (
    ['task', 'dataset', 'version', 'folds', 'rank', 'method', 'variant', 'teacher', 'teacher_layer']
    + [
        'targets_shuffled',
        'pretraining_epochs',
        'mask_ratio',
        'model',
        'backbone',
        'params',
        'backbone_params',
        'backbone_gmacs',
        'epochs',
        'batch_size',
    ]
    + ['resolution', 'recipe', 'protocol_sha256', 'metric', 'mean_percent', 'std_percent', 'runs', 'gain_over_scratch']
    + [
        'gain_over_scratch_p',
        'gain_over_scratch_pairs',
        'gain_over_spark',
        'gain_over_spark_p',
        'gain_over_spark_pairs',
    ]
    + ['latency_ms', 'records']
)


def render_csv(tables: Sequence[Table], found: Found) -> str:
    """Render every metric of every row; ``latency_ms`` has ``device/threads=median`` by semicolons."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(COLUMNS)
    for table in tables:
        data, protocol = table.dataset, table.protocol
        for rank, row in enumerate(table.rows, 1):
            pre, model = row.pretraining, row.model
            names = ('variant', 'teacher', 'teacher_layer', 'targets_shuffled', 'epochs', 'mask_ratio')
            facts = [getattr(pre, name, None) for name in names]
            timings = ';'.join(f'{t.device}/{t.threads}={t.median_ms:g}' for t in found.latency(row))
            for metric in row.metrics:
                gains: list[float | None] = []
                for over in (SCRATCH, SPARK):
                    gain = table.gain(row, metric, over)
                    gains += [rounded(gain.value), rounded(gain.p), gain.pairs] if gain else [None] * 3
                writer.writerow(
                    [table.task, data.name, data.version, ' '.join(map(str, table.folds)), rank, row.method, *facts]
                    + [model.name, model.backbone, model.params, model.backbone_params, model.backbone_gmacs]
                    + [protocol.epochs, protocol.batch_size, protocol.resolution, protocol.recipe, protocol.sha256]
                    + [metric, rounded(row.mean(metric)), rounded(row.std(metric)), len(row.runs), *gains]
                    + [timings, ' '.join(run.path.as_posix() for run in row.runs)]
                )
    return stream.getvalue()
