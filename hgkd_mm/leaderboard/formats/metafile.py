"""``metafile.yml``: the model index of OpenMMLab's projects."""

from collections.abc import Sequence
from typing import Any

from ..collect import Row, Table
from ..names import dump_yaml, rounded, row_name, slug
from ..record import METRICS

TASKS = {
    'classification': ['Image Classification'],
    'detection': ['Object Detection', 'Instance Segmentation'],
    'segmentation': ['Semantic Segmentation'],
}
PAPER = {
    'URL': 'https://arxiv.org/abs/2309.09571',
    'Title': 'Heterogeneous Generative Knowledge Distillation with Masked Image Modeling',
}


def render_metafile(tables: Sequence[Table]) -> str:
    """Render a collection for each method and a model for each row."""
    methods = dict.fromkeys(row.method for table in tables for row in table.rows)
    collections = [
        {
            'Name': method,
            'Metadata': {'Architecture': ['CNN backbone']},
            **({'Paper': PAPER} if method == 'H-GKD' else {}),
        }
        for method in methods
    ]
    names: dict[str, int] = {}
    models = [_model(table, row, names) for table in tables for row in table.rows]
    content = {'Collections': collections, 'Models': models}
    return dump_yaml(content)


def _model(table: Table, row: Row, names: dict[str, int]) -> dict[str, Any]:
    p, model, first = table.protocol, row.model, row.runs[0]
    name = slug(f'{row_name(row)}_{model.name}_{table.dataset.name}_{p.epochs:g}e')
    names[name] = names.get(name, 0) + 1
    metadata: dict[str, Any] = {
        'Training Data': table.dataset.name,
        'Epochs': p.epochs,
        'Batch Size': p.batch_size,
        'Parameters': model.params,
    }
    if model.backbone_gmacs:
        metadata['FLOPs'] = round(model.backbone_gmacs * 1e9)  # multiply-accumulates, as OpenMMLab counts
    if row.pretraining and row.pretraining.teacher:
        metadata['Teacher'] = row.pretraining.teacher
    return {
        'Name': name + (f'-{names[name]}' if names[name] > 1 else ''),
        'In Collection': row.method,
        'Metadata': metadata,
        'Config': (first.path.parent / (first.record.config_file or 'config.py')).as_posix(),
        'Results': [
            {
                'Task': task,
                'Dataset': table.dataset.name,
                'Metrics': {
                    METRICS[table.task][m].label.removesuffix(' %'): rounded(row.mean(m))
                    for m in row.metrics
                    if _belongs(m, task)
                },
            }
            for task in TASKS[table.task]
            if any(_belongs(m, task) for m in row.metrics)
        ],
    }


def _belongs(metric: str, task: str) -> bool:
    return metric.startswith('mask') == (task == 'Instance Segmentation')
