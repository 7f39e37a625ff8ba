from datetime import datetime, timezone

import pytest

from hgkd_mm.leaderboard.record import (
    METRICS,
    Code,
    Cost,
    Pretraining,
    PretrainingRecord,
    Record,
    primary_metric,
    save_record,
)

HGKD = dict(
    method='HGKD',
    teacher='vit-s14',
    teacher_sha256='a' * 64,
    teacher_layer=9,
    epochs=20,
    mask_ratio=0.6,
    seed=0,
    backbone_sha256='b' * 64,
)


def _record(value=40.0, task='classification', pretraining=None, seed=0, curve=(), **changes):
    """Make a valid record; every metric with a column gets the value of the primary one."""
    shown = [name for name, metric in METRICS[task].items() if metric.shown]
    fields = dict(
        task=task,
        dataset=dict(name='Toy', version='1', fold=0, num_train=100, num_val=20),
        metrics={name: value for name in shown},
        protocol=dict(epochs=10, batch_size=32, resolution=128, recipe='AdamW, cosine'),
        budget=dict(finetuning_images=1000),
        pretraining=pretraining,
        model=dict(name='ImageClassifier', backbone='ResNet-18', params=11_000_000),
        curve=[dict(epoch=epoch, metrics={primary_metric(task): point}) for epoch, point in enumerate(curve, 1)],
        cost=dict(wall_time_s=61.5, device='CPU', threads=2),
        code=dict(version='0.1.0', commit=None),
        config_sha256='c' * 64,
        seed=seed,
        environment=dict(python='3.11.7'),
        created=datetime(2026, 1, 2, 3, 4, seed, tzinfo=timezone.utc),
    )
    return Record.model_validate({**fields, **changes})


@pytest.fixture(scope='session')
def record_factory():
    """Factory of valid records."""
    return _record


@pytest.fixture
def make_record(record_factory):
    """The same, by its short name."""
    return record_factory


@pytest.fixture
def write_record(tmp_path):
    """Factory of record files in ``tmp_path``."""

    def write(name, *args, **kwargs):
        path = tmp_path / name / 'result.json'
        save_record(_record(*args, **kwargs), path)
        return path

    return write


@pytest.fixture(scope='session')
def write_pretraining_to():
    """Factory of pretraining records in a folder, with curves."""

    def write(folder, pretraining, **curves):
        record = PretrainingRecord(
            backbone='ResNet-18',
            pretraining=Pretraining(**pretraining),
            curves=curves,
            cost=Cost(wall_time_s=600.0, images_per_s=100.0, device='CPU', threads=2),
            code=Code(version='0.1.0'),
            config_sha256='c' * 64,
            environment={'python': '3.11.7'},
            created=datetime(2026, 1, 2, tzinfo=timezone.utc),
        )
        path = folder / 'pretraining.json'
        save_record(record, path)
        return path

    return write


@pytest.fixture
def write_pretraining(tmp_path, write_pretraining_to):
    """Factory of pretraining records in ``tmp_path``."""
    return lambda name, pretraining, **curves: write_pretraining_to(tmp_path / name, pretraining, **curves)


@pytest.fixture(scope='session')
def hgkd_facts():
    """Provenance of a distilled backbone, to be copied."""
    return HGKD


@pytest.fixture
def hgkd():
    """Provenance of a distilled backbone."""
    return dict(HGKD)
