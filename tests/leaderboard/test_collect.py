from datetime import datetime, timezone
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from scipy import stats

from hgkd_mm.errors import RecordError
from hgkd_mm.latency.record import Latency, Timing, save_latency
from hgkd_mm.leaderboard.collect import Run, find_runs, make_tables
from hgkd_mm.leaderboard.names import start_name


def test_rows_are_ranked_by_the_primary_metric(make_record, hgkd, tables_of):
    spark = dict(method='SparK', epochs=20)
    (table,) = tables_of(make_record(30.0), make_record(45.0, pretraining=hgkd), make_record(28.0, pretraining=spark))
    assert [row.method for row in table.rows] == ['H-GKD', 'from scratch', 'SparK']


def test_gain_is_over_scratch_of_the_same_network_and_protocol(make_record, hgkd, tables_of):
    wide = dict(model=dict(name='ImageClassifier', backbone='ResNet-50', params=1))
    longer = dict(protocol=dict(epochs=99, batch_size=32, resolution=128, recipe='AdamW, cosine'))
    short, long = tables_of(
        make_record(30.0),
        make_record(10.0, **wide),
        make_record(45.0, pretraining=hgkd),
        make_record(50.0, pretraining=hgkd, **longer),
    )
    gains = {(row.method, row.model.backbone): short.gain(row, 'top1') for row in short.rows}
    assert gains == {
        ('H-GKD', 'ResNet-18'): (15, 1, None),
        ('from scratch', 'ResNet-18'): None,
        ('from scratch', 'ResNet-50'): None,
    }
    assert long.protocol.epochs == 99
    assert long.gain(long.rows[0], 'top1') is None


def test_tasks_and_data_are_not_mixed(make_record, tables_of):
    tables = tables_of(
        make_record(task='segmentation'),
        make_record(task='detection'),
        make_record(),
        make_record(dataset=dict(name='Toy', version='1', fold=1)),
    )
    assert [(table.task, table.folds) for table in tables] == [
        ('classification', [0, 1]),
        ('detection', [0]),
        ('segmentation', [0]),
    ]


def test_other_data_of_the_same_name_and_fold_is_another_comparison(make_record, hgkd, tables_of):
    def data(fold, size, sha):
        return dict(name='Toy', version='1', fold=fold, sha256=sha * 64, num_train=size, num_val=10)

    large, small = tables_of(
        make_record(30.0, dataset=data(0, 100, 'a')),
        make_record(20.0, dataset=data(1, 100, 'b')),
        make_record(50.0, dataset=data(0, 200, 'c')),
        make_record(55.0, dataset=data(0, 200, 'c'), pretraining=hgkd),
    )
    assert [row.mean('top1') for row in small.rows] == [25]
    assert [(row.method, row.mean('top1')) for row in large.rows] == [('H-GKD', 55), ('from scratch', 50)]
    assert large.gain(large.rows[0], 'top1').value == 5

    drawn_anew = tables_of(make_record(30.0, dataset=data(0, 100, 'a')), make_record(40.0, dataset=data(0, 100, 'b')))
    assert [[row.mean('top1') for row in table.rows] for table in drawn_anew] == [[30], [40]]


def test_folds_are_runs_of_one_row_and_gains_are_paired_by_fold_and_seed(make_record, hgkd, tables_of):
    def data(fold):
        return dict(name='Toy', version='1', fold=fold, sha256=str(fold) * 64, num_train=100 + fold)

    scratch, ours = {(0, 0): 30.0, (0, 1): 31.0, (1, 0): 20.0, (1, 1): 24.0}, {(0, 0): 33.0, (0, 1): 36.0, (1, 0): 24.0}
    (table,) = tables_of(
        *(make_record(value, seed=seed, dataset=data(fold)) for (fold, seed), value in scratch.items()),
        *(make_record(value, seed=seed, dataset=data(fold), pretraining=hgkd) for (fold, seed), value in ours.items()),
    )
    row = table.rows[0]
    assert (row.method, len(row.runs), table.dataset.num_train) == ('H-GKD', 3, None)
    gain = table.gain(row, 'top1')
    differences = np.array([3.0, 5.0, 4.0])  # of the three runs both have
    t = differences.mean() / (differences.std(ddof=1) / 3**0.5)
    assert gain.value == pytest.approx(4)  # over these pairs: the fourth run of scratch would bias it
    assert gain.pairs == 3
    assert gain.p == pytest.approx(2 * stats.t.sf(t, df=2))


def test_different_recipes_are_not_averaged_as_seeds(make_record, hgkd, tables_of):
    protocol = dict(epochs=10, batch_size=32, resolution=128, recipe='AdamW, cosine')
    assert len(tables_of(*(make_record(protocol=dict(**protocol, sha256=c * 64)) for c in 'ab'))) == 2
    (table,) = tables_of(*(make_record(pretraining=dict(hgkd, recipe_sha256=c * 64)) for c in 'ab'))
    assert len(table.rows) == 2


def test_seeds_are_averaged(make_record, hgkd, tables_of):
    others = {**hgkd, 'seed': 1, 'backbone_sha256': 'd' * 64}
    (table,) = tables_of(make_record(40.0, pretraining=hgkd, seed=0), make_record(44.0, pretraining=others, seed=1))
    (row,) = table.rows
    assert (row.mean('top1'), len(row.runs)) == (42, 2)
    assert row.std('top1') == pytest.approx(8**0.5)
    assert tables_of(make_record())[0].rows[0].std('top1') is None


def test_repeated_evaluation_counts_once_with_the_newest_and_not_the_best(make_record, tables_of):
    def at(hour):
        return datetime(2026, 1, 1, hour, tzinfo=timezone.utc)

    (table,) = tables_of(
        make_record(20.0, created=at(2)),
        make_record(60.0, created=at(1)),
        make_record(10.0, created=at(0)),
    )
    assert [run.record.value for run in table.rows[0].runs] == [20]


def test_records_are_found_at_any_depth_and_once(write_record, tmp_path):
    write_record('a/b/c')
    path = write_record('d', seed=1)
    (tmp_path / 'd' / 'other.json').write_text('{}')
    found = find_runs([tmp_path, tmp_path / 'd', path])
    runs = found.runs
    assert found.problems == []
    assert [run.path.relative_to(tmp_path).as_posix() for run in runs] == [
        'a/b/c/result.json',
        'd/result.json',
    ]


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(RecordError, match='no sound result.json below'):
        find_runs([tmp_path])
    with pytest.raises(RecordError, match='nowhere: no such folder'):
        find_runs([tmp_path / 'nowhere'])


def test_unsound_records_are_named_and_the_rest_is_read(write_record, tmp_path):
    paths = {name: write_record(name, seed=seed) for seed, name in enumerate(['damaged', 'edited', 'future', 'sound'])}
    paths['damaged'].write_text(paths['damaged'].read_text()[:-40])
    paths['edited'].write_text(paths['edited'].read_text().replace('"top1": 40.0', '"top1": 50.0', 1))
    paths['future'].write_text(paths['future'].read_text().replace('"schema_version": 2', '"schema_version": 3'))
    copy = tmp_path / 'twice' / 'result.json'
    copy.parent.mkdir()
    copy.write_bytes(paths['sound'].read_bytes())
    found = find_runs([tmp_path])
    runs, problems = found.runs, found.problems
    assert [run.path for run in runs] == [paths['sound']]
    assert [problem.partition(': ')[::2] for problem in problems] == [
        (str(paths['damaged']), ANY),
        (str(paths['edited']), 'was edited after it was written: its content does not fit its content_sha256'),
        (str(paths['future']), 'schema_version is 3, this hgkd_mm reads 2'),
        (str(copy), f'the same record as {paths["sound"]}'),
    ]
    assert 'damaged: not JSON' in problems[0]


def test_spark_twin_is_the_one_that_was_pretrained_as_long(make_record, hgkd, tables_of):
    spark = [
        make_record(value, pretraining=dict(method='SparK', epochs=epochs)) for value, epochs in ((50, 5.0), (31, 20.0))
    ]
    (table,) = tables_of(make_record(40.0, pretraining=dict(hgkd, epochs=20.0)), *spark)
    row = next(row for row in table.rows if row.method == 'H-GKD')
    assert table.gain(row, 'top1', 'SparK').value == 9
    assert table.gain(row, 'top1') is None
    assert table.twin(table.rows[0], 'SparK') is None


@pytest.mark.parametrize('order', [1, -1])
def test_of_two_twins_that_are_as_near_it_is_the_longer(make_record, hgkd, order, tables_of):
    shorter, longer = (dict(method='SparK', epochs=epochs) for epochs in (12, 24))
    spark = [make_record(50, pretraining=shorter), make_record(31, pretraining=longer)]
    (table,) = tables_of(make_record(40.0, pretraining=dict(hgkd, epochs=18.0)), *spark[::order])
    row = next(row for row in table.rows if row.method == 'H-GKD')
    assert table.gain(row, 'top1', 'SparK').value == 9


def test_a_variant_has_gains_but_is_no_twin_of_others(make_record, hgkd, tables_of):
    spark = [
        make_record(value, pretraining=dict(method='SparK', epochs=20.0, **special))
        for value, special in ((35, {}), (50, dict(variant='half of the images unmasked')))
    ]
    (table,) = tables_of(make_record(40.0, pretraining=dict(hgkd, targets_shuffled=True)), *spark, make_record(30.0))
    variant, control, plain, _ = table.rows
    assert [row.variant for row in table.rows] == ['half of the images unmasked', 'shuffled targets', None, None]
    assert table.gain(control, 'top1', 'SparK').value == 5
    assert table.gain(variant, 'top1').value == 20
    assert table.twin(plain, 'H-GKD') is None
    assert start_name(variant) == 'SparK, half of the images unmasked'
    assert start_name(control) == 'H-GKD (vit-s14 layer 9, targets shuffled)'


def test_latency_joins_rows_of_the_same_backbone_and_resolution(write_record, make_record, tmp_path):
    def timed(name, resolution, *devices):
        timings = [
            Timing(
                device=device, threads=1, runtime='ONNX Runtime', provider='CPUExecutionProvider', median_ms=ms,
                p90_ms=ms, runs=10, created=datetime(2026, 1, 1, tzinfo=timezone.utc),
            )
            for device, ms in devices
        ]  # fmt: skip
        latency = Latency(
            backbone='ResNet-18', backbone_params=11_000_000, resolution=resolution, weights_sha256='a' * 64,
            onnx_mib=1.0, max_difference=0.0, timings=timings,
        )  # fmt: skip
        save_latency(latency, tmp_path / name / 'latency.json')

    model = dict(name='ImageClassifier', backbone='ResNet-18', params=11_500_000, backbone_params=11_000_000)
    write_record('a', model=model)
    write_record('b', model=dict(model, backbone_params=12_000_000), seed=1)
    timed('a', 128, ('laptop', 3.0))
    timed('other', 128, ('phone', 9.0))
    timed('large', 224, ('laptop', 12.0))
    found = find_runs([tmp_path])
    (table,) = make_tables(found.runs)
    by_params = {row.model.backbone_params: found.latency(row) for row in table.rows}
    assert [(t.device, t.median_ms) for t in by_params[11_000_000]] == [('laptop', 3.0), ('phone', 9.0)]
    assert by_params[12_000_000] == []


def test_pretraining_runs_are_found_by_their_backbone(write_record, write_pretraining, hgkd, tmp_path):
    write_record('fine-tuned', pretraining=hgkd)
    path = write_pretraining('pretrained', hgkd, loss=[(1.0, 0.5)])
    edited = write_pretraining('edited', dict(hgkd, backbone_sha256='d' * 64))
    edited.write_text(edited.read_text().replace('"epochs": 20.0', '"epochs": 30.0'))
    found = find_runs([tmp_path])
    assert {sha: file for sha, (file, _) in found.pretrainings.items()} == {hgkd['backbone_sha256']: path}
    assert 'edited/pretraining.json: was edited' in found.problems[0]


def test_teachers_of_a_folds_own_images_are_one_start_over_the_folds(make_record, hgkd):
    def run(fold, letter, seed=0, name='own-mae'):
        facts = {**hgkd, 'teacher': name, 'teacher_sha256': letter * 64, 'backbone_sha256': f'{fold}{seed}' * 32}
        dataset = dict(name='Toy', version='1', fold=fold, num_train=100, num_val=20)
        return Run(Path(f'{fold}{seed}{letter}'), make_record(pretraining=facts, seed=seed, dataset=dataset))

    (table,) = make_tables([run(0, 'a'), run(1, 'b'), run(1, 'b', seed=1)])
    (row,) = table.rows
    assert [one.key for one in row.runs] == [(0, 0), (1, 0), (1, 1)] and row.pretraining.teacher_sha256 is None
    # two teachers on one fold are two, whatever they are called
    (table,) = make_tables([run(0, 'a'), run(1, 'b'), run(1, 'c', seed=1)])
    assert sorted(row.pretraining.teacher_sha256[0] for row in table.rows) == ['a', 'b', 'c']
    (table,) = make_tables([run(0, 'a'), run(1, 'b', name='other')])
    assert len(table.rows) == 2
    (table,) = make_tables([run(0, 'a'), run(1, 'a')])
    assert table.rows[0].pretraining.teacher_sha256 == 'a' * 64 and len(table.rows) == 1
