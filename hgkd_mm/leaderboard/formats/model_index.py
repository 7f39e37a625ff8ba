"""``model-index`` metadata: what the head of a Hugging Face model card holds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ..collect import Row, Table
from ..names import dump_yaml, rounded, row_name, slug
from ..record import METRICS

TASK_TYPES = {
    'classification': 'image-classification',
    'detection': 'object-detection',
    'segmentation': 'image-segmentation',
}
METRIC_TYPES = {
    'top1': 'accuracy', 'top5': 'top_5_accuracy', 'box_AP': 'mAP', 'mask_AP': 'mask_mAP', 'mIoU': 'mean_iou',
    'mAcc': 'mean_accuracy', 'aAcc': 'pixel_accuracy',
}  # fmt: skip


def render_model_index(tables: Sequence[Table]) -> str:
    """Render one model for each pretrained backbone, its results on all tasks together."""
    models: dict[tuple, list[tuple[Table, Row]]] = defaultdict(list)
    for table in tables:
        for row in table.rows:
            models[row.model.backbone, row.pretraining].append((table, row))
    index = [
        {'name': slug(row_name(found[0][1])), 'results': [_result(table, row) for table, row in found]}
        for found in models.values()
    ]
    return dump_yaml({'model-index': index})


def _result(table: Table, row: Row) -> dict[str, Any]:
    data, p = table.dataset, table.protocol
    return {
        'task': {'type': TASK_TYPES[table.task], 'name': f'{table.task} ({row.model.name})'},
        'dataset': {
            'name': data.name,
            'type': slug(data.name),
            'split': 'validation',
            **({'revision': data.version} if data.version else {}),
        },
        'metrics': [
            {
                'type': METRIC_TYPES.get(metric, metric),
                'name': METRICS[table.task][metric].label.removesuffix(' %'),
                'value': rounded(row.mean(metric)),
                'args': {
                    'unit': 'percent', 'runs': len(row.runs), 'std': rounded(row.std(metric)), 'epochs': p.epochs,
                    'resolution': p.resolution, 'recipe': p.recipe,
                },
                'verified': False,
            }
            for metric in row.metrics
        ],
    }  # fmt: skip
