import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hgkd_mm import engine
from hgkd_mm.leaderboard.record import load_record, save_record
from hgkd_mm.leaderboard.verify import verify

TOOL = Path(__file__).parents[2] / 'tools' / 'leaderboard.py'
CONFIG = 'configs/classification/resnet18_1xb32-coslr_cutoutscenes.py'


def _states(folder, **options):
    return {(check.path.parent.name, check.what): check.state for check in verify([folder], **options)}


@pytest.fixture
def run(tmp_path, write_record, hgkd):
    """A record with its checkpoint and its backbone."""
    folder = tmp_path / 'run'
    folder.mkdir()
    files = {'epoch_3.pth': b'weights', 'backbone.pth': b'backbone'}
    hashes = {}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    write_record(
        'run',
        checkpoint=dict(file='epoch_3.pth', sha256=hashes['epoch_3.pth']),
        pretraining=dict(hgkd, backbone_file='backbone.pth', backbone_sha256=hashes['backbone.pth']),
    )
    return folder


def test_files_are_checked_against_their_hashes(run):
    assert _states(run) == dict.fromkeys([('run', 'record'), ('run', 'checkpoint'), ('run', 'backbone')], 'ok')
    (run / 'epoch_3.pth').write_bytes(b'other weights')
    (run / 'backbone.pth').unlink()
    assert _states(run) == {('run', 'record'): 'ok', ('run', 'checkpoint'): 'wrong', ('run', 'backbone'): 'gone'}


def test_predictions_are_checked_against_their_hash(write_record, tmp_path):
    path = tmp_path / 'run/predictions.csv'
    path.parent.mkdir()
    path.write_text('said')
    write_record('run', predictions=dict(file=path.name, sha256=hashlib.sha256(b'said').hexdigest()))
    assert _states(tmp_path)['run', 'predictions'] == 'ok'
    path.write_text('edited')
    assert _states(tmp_path)['run', 'predictions'] == 'wrong'


def test_tool_names_what_is_wrong_and_exits_with_1(run, write_record, tmp_path):
    done = _tool(tmp_path)
    assert (done.returncode, done.stdout) == (0, '3 ok, 0 gone, 0 wrong\n')
    edited = write_record('edited', seed=1)
    edited.write_text(edited.read_text().replace('"seed": 1', '"seed": 2'))
    done = _tool(tmp_path)
    assert done.returncode == 1
    assert f'wrong: {edited}: record: was edited after it was written' in done.stdout
    assert done.stdout.endswith('3 ok, 0 gone, 1 wrong\n')


def _tool(folder):
    command = [sys.executable, str(TOOL), 'verify', str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_to_evaluate_with_is_said(run):
    check = next(c for c in verify([run], re_evaluate=True) if c.what == 'metrics')
    assert (check.state, check.text) == ('gone', 'no config to evaluate with')


@pytest.mark.slow
def test_row_is_evaluated_again_from_its_checkpoint(mini_cutoutscenes, tmp_path):
    run = tmp_path / 'run'
    engine.train(
        [CONFIG, '--work-dir', str(run), '--cfg-options', f'data_root={mini_cutoutscenes}', 'width=8', 'img_size=32']
        + ['batch_size=8', 'max_epochs=1', 'log_level=WARNING']
    )
    before = sorted(path.name for path in run.iterdir())
    assert _states(run, re_evaluate=True) == dict.fromkeys(
        [('run', 'record'), ('run', 'checkpoint'), ('run', 'predictions'), ('run', 'metrics')], 'ok'
    )
    assert sorted(path.name for path in run.iterdir()) == before  # in a work dir of its own

    record = load_record(run / 'result.json')
    metrics = {**record.metrics, 'top1': (record.metrics['top1'] + 50) % 100}
    save_record(record.model_copy(update={'metrics': metrics}), run / 'result.json')  # sealed, but not true
    check = next(c for c in verify([run], re_evaluate=True) if c.what == 'metrics')
    assert check.state == 'wrong'
    assert f'top1 {metrics["top1"]:g} -> {record.metrics["top1"]:g}' in check.text
    assert json.loads((run / 'result.json').read_text())['metrics']['top1'] == metrics['top1']
