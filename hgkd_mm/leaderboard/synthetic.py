"""Made-up records, for measurements of speed; they are marked as such in every name."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from ..latency.record import Latency, Timing, save_latency
from .record import METRICS, Record, primary_metric, save_record

METHODS = ('from scratch', 'SparK', 'DenseDistillation', 'HGKD')
CHANCE = 100 / 11


def write_synthetic(folder: Path, count: int, students: int = 20, seeds: int = 1) -> None:
    """Write records of rows that all differ, over three tasks.

    Args:
        folder: Gets a folder a record.
        count: Records.
        students: Backbones.
        seeds: Runs of a row.
    """
    rng = np.random.default_rng(0)
    for student in range(students):
        _write_latency(folder / f'latency-{student}', student)
    tasks = list(METRICS)
    for index in range(count):
        row, seed = divmod(index, seeds)
        task = tasks[row % 3]
        method = METHODS[row // 3 % len(METHODS)]
        student = row // (3 * len(METHODS)) % students
        # 0 for the first rows: those have a scratch row under the same protocol
        variant = row // (3 * len(METHODS) * students)
        value = float(np.clip(rng.normal(30 + 5 * METHODS.index(method) + student, 1), 0, 100))
        metric = primary_metric(task)
        curve = [
            {'epoch': float(epoch), 'metrics': {metric: round(value * epoch / 10, 4)}, 'loss': round(3 / epoch, 4)}
            for epoch in range(1, 11)
        ]
        pretraining = None
        if method != 'from scratch':
            teacher = {'teacher': 'synthetic-vit', 'teacher_layer': 9, 'teacher_sha256': 'a' * 64}
            pretraining = {'method': method, 'epochs': float(100 + variant), 'mask_ratio': 0.6, 'seed': seed}
            pretraining |= teacher if method != 'SparK' else {}
        record = Record.model_validate(
            {
                'task': task,
                'dataset': {'name': 'Synthetic', 'version': '1', 'fold': 0, 'num_train': 1000, 'num_val': 100},
                'metrics': {m: round(value, 4) for m, facts in METRICS[task].items() if facts.shown},
                'chance': CHANCE if task == 'classification' else None,
                'protocol': {
                    'epochs': 10.0 + (variant if pretraining is None else 0),
                    'batch_size': 32,
                    'resolution': 128,
                    'recipe': 'synthetic',
                },
                'budget': {'finetuning_images': 10_000},
                'pretraining': pretraining,
                'model': {
                    'name': 'synthetic network',
                    'backbone': f'SyntheticNet-{student + 1}',
                    'params': 1_000_000 * (student + 1) + 1000,
                    'backbone_params': 1_000_000 * (student + 1),
                    'backbone_gmacs': 0.1 * (student + 1),
                },
                'curve': curve,
                'cost': {'wall_time_s': 60.0, 'images_per_s': 166.7, 'device': 'synthetic', 'threads': 1},
                'code': {'version': '0', 'commit': None},
                'config_sha256': 'c' * 64,
                'seed': seed,
                'environment': {'python': '3'},
                'created': datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=index),
            }
        )
        save_record(record, folder / f'{index:05d}' / 'result.json')


def _write_latency(folder: Path, student: int) -> None:
    timings = [
        Timing(
            device=device,
            threads=1,
            runtime='synthetic',
            provider='synthetic',
            median_ms=2.5 * (student + 1) * factor,
            p90_ms=3.0 * (student + 1) * factor,
            runs=1,
            created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        )
        for device, factor in (('synthetic laptop', 1), ('synthetic phone', 4))
    ]
    latency = Latency(
        backbone=f'SyntheticNet-{student + 1}',
        backbone_params=1_000_000 * (student + 1),
        resolution=128,
        weights_sha256='a' * 64,
        onnx_mib=4.0 * (student + 1),
        max_difference=0.0,
        timings=timings,
    )
    save_latency(latency, folder / 'latency.json')
