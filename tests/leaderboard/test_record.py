import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.record import METRICS, Record, load_record, primary_metric, save_record
from hgkd_mm.utils import sha256_json

percents = st.floats(0, 100)
tasks = st.sampled_from(list(METRICS))


def test_each_task_has_its_primary_metric():
    assert {task: primary_metric(task) for task in METRICS} == {
        'classification': 'top1',
        'detection': 'box_AP',
        'segmentation': 'mIoU',
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(data=st.data())
def test_saved_record_reads_back_equal(data, make_record, hgkd, tmp_path):
    task = data.draw(tasks)
    metrics = data.draw(
        st.dictionaries(st.sampled_from(list(METRICS[task])), percents).map(
            lambda drawn: {primary_metric(task): 1.0, **drawn}
        )
    )
    record = make_record(
        task=task,
        metrics=metrics,
        seed=data.draw(st.integers(0, 59)),
        curve=data.draw(st.lists(percents, max_size=5)),
        pretraining=data.draw(st.sampled_from([None, hgkd, {'method': 'unknown'}])),
        environment=data.draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)),
        dataset=dict(name=data.draw(st.text(max_size=20)), fold=data.draw(st.none() | st.integers(0, 4))),
    )
    save_record(record, tmp_path / 'result.json')
    assert load_record(tmp_path / 'result.json') == record


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(metrics={'top1': math.nan}), 'metrics.top1'),
        (dict(metrics={'top1': 101}), 'metrics.top1'),
        (dict(metrics={'top5': 50}), "metrics: no 'top1'"),
        (dict(metrics={'top1': 50, 'mIoU': 3}), 'mIoU'),
        (dict(task='pose'), 'task'),
        (dict(schema_version=3), 'schema_version is 3, this hgkd_mm reads 2'),
        (dict(schema_version=None), 'schema_version'),
        (dict(unit='fraction'), 'unit'),
        (dict(checkpoint=dict(file='epoch_3.pth', sha256='short')), 'checkpoint.sha256'),
        (dict(seed='1'), 'seed'),
        (dict(surprise=1), 'surprise'),
        (dict(config_sha256='abc'), 'config_sha256'),
        (dict(created='2026-01-02T03:04:05'), 'created'),
        (dict(protocol=dict(epochs=1, batch_size=2, resolution=3)), 'protocol.recipe'),
        (dict(cost=dict(wall_time_s=math.inf, device='CPU', threads=1)), 'cost.wall_time_s'),
        (
            dict(curve=[dict(epoch=2, metrics={'top1': 1}), dict(epoch=1, metrics={'top1': 2})]),
            'curve',
        ),
    ],
)
def test_wrong_field_is_named_with_its_file(change, message, make_record, tmp_path):
    path = tmp_path / 'result.json'
    content = {**json.loads(make_record().model_dump_json()), **change}
    path.write_text(json.dumps({**content, 'content_sha256': sha256_json(content)}))
    with pytest.raises(RecordError) as error:
        load_record(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'', b'{"schema_version": 1', b'[]', b'\xff\xfe'])
def test_what_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / 'result.json'
    path.write_bytes(content)
    with pytest.raises(RecordError, match='result.json'):
        load_record(path)


@pytest.mark.parametrize('edit', ['metric', 'seal', 'no seal', 'field left out'])
def test_edited_record_is_refused(edit, make_record, tmp_path):
    path = tmp_path / 'result.json'
    save_record(make_record(40.0), path)
    content = json.loads(path.read_text())
    if edit == 'metric':
        content['metrics']['top1'] = 40.1
    elif edit == 'seal':
        content['content_sha256'] = '0' * 64
    elif edit == 'no seal':
        del content['content_sha256']
    else:
        del content['chance']
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match='result.json: was edited after it was written'):
        load_record(path)


def test_reformatted_record_is_still_sound(make_record, tmp_path):
    path = tmp_path / 'result.json'
    save_record(make_record(40.0, curve=[1, 2]), path)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert load_record(path) == make_record(40.0, curve=[1, 2])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match='nowhere.json: cannot be read'):
        load_record(tmp_path / 'nowhere.json')


def test_failed_write_keeps_the_old_record(make_record, tmp_path, monkeypatch):
    path = tmp_path / 'result.json'
    save_record(make_record(10.0), path)
    monkeypatch.setattr(Record, 'model_dump_json', lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_record(make_record(20.0), path)
    monkeypatch.undo()
    assert load_record(path).value == 10
    assert [p.name for p in tmp_path.iterdir()] == ['result.json']
