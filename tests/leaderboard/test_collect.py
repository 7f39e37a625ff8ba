from datetime import datetime, timezone
from pathlib import Path

import pytest

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.collect import Run, find_runs, make_tables


def _tables(*records):
    return make_tables([Run(Path(f'{i}/result.json'), record) for i, record in enumerate(records)])


def test_rows_are_ranked_by_the_primary_metric(make_record, hgkd):
    spark = dict(method='SparK', epochs=20)
    (table,) = _tables(make_record(30.0), make_record(45.0, pretraining=hgkd), make_record(28.0, pretraining=spark))
    assert [row.method for row in table.rows] == ['H-GKD', 'from scratch', 'SparK']


def test_gain_is_over_scratch_of_the_same_network_and_protocol(make_record, hgkd):
    wide = dict(model=dict(name='ImageClassifier', backbone='ResNet-50', params=1))
    longer = dict(protocol=dict(epochs=99, batch_size=32, resolution=128, recipe='AdamW, cosine'))
    short, long = _tables(
        make_record(30.0),
        make_record(10.0, **wide),
        make_record(45.0, pretraining=hgkd),
        make_record(50.0, pretraining=hgkd, **longer),
    )
    gains = {(row.method, row.model.backbone): short.gain(row, 'top1') for row in short.rows}
    assert gains == {
        ('H-GKD', 'ResNet-18'): 15,
        ('from scratch', 'ResNet-18'): None,
        ('from scratch', 'ResNet-50'): None,
    }
    assert long.protocol.epochs == 99
    assert long.gain(long.rows[0], 'top1') is None


def test_tasks_and_data_are_not_mixed(make_record):
    tables = _tables(
        make_record(task='segmentation'),
        make_record(task='detection'),
        make_record(),
        make_record(dataset=dict(name='Toy', version='1', fold=1)),
    )
    assert [(table.task, table.dataset.fold) for table in tables] == [
        ('classification', 0),
        ('classification', 1),
        ('detection', 0),
        ('segmentation', 0),
    ]


def test_seeds_are_averaged(make_record, hgkd):
    others = {**hgkd, 'seed': 1, 'backbone_sha256': 'd' * 64}
    (table,) = _tables(make_record(40.0, pretraining=hgkd, seed=0), make_record(44.0, pretraining=others, seed=1))
    (row,) = table.rows
    assert (row.mean('top1'), len(row.runs)) == (42, 2)
    assert row.std('top1') == pytest.approx(8**0.5)
    assert _tables(make_record())[0].rows[0].std('top1') is None


def test_repeated_evaluation_counts_once_with_the_newest_and_not_the_best(make_record):
    def at(hour):
        return datetime(2026, 1, 1, hour, tzinfo=timezone.utc)

    (table,) = _tables(
        make_record(20.0, created=at(2)),
        make_record(60.0, created=at(1)),
        make_record(10.0, created=at(0)),
    )
    assert [run.record.value for run in table.rows[0].runs] == [20]


def test_records_are_found_at_any_depth_and_once(write_record, tmp_path):
    write_record('a/b/c')
    path = write_record('d', seed=1)
    (tmp_path / 'd' / 'other.json').write_text('{}')
    runs = find_runs([tmp_path, tmp_path / 'd', path])
    assert [run.path.relative_to(tmp_path).as_posix() for run in runs] == [
        'a/b/c/result.json',
        'd/result.json',
    ]


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(RecordError, match='no result.json below'):
        find_runs([tmp_path])
    with pytest.raises(RecordError, match='nowhere: no such folder'):
        find_runs([tmp_path / 'nowhere'])
