"""Neither the clock nor the language of a machine changes what a run computes, writes or finds again."""

import json
import locale
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hgkd_mm.engine import train
from hgkd_mm.torture.kills import differences, final_state
from hgkd_mm.torture.process import Child
from hgkd_mm.torture.subject import make_images, write_config

ROOT = Path(__file__).parents[2]
#: Beyond Latin-1, and with letters whose case depends on the language.
NAME = 'Größe-İ-日本'
RESULT = f"""
custom_hooks.append(dict(
    type='hgkd_mm.ResultHook',
    task='classification',
    dataset=dict(name='{NAME}'),
    protocol=dict(recipe='{NAME}', resolution=64),
))
"""


def write(folder):
    """Config and images under a name that is no ASCII."""
    config = write_config(folder, make_images(folder / NAME), 'fine-tuning')
    classes = folder / NAME / 'train'
    if not (classes / NAME).exists():
        (classes / 'c').rename(classes / NAME)
    config.write_text(config.read_text(encoding='utf-8') + RESULT, encoding='utf-8')
    return config.rename(folder / f'{NAME}.py')


@pytest.fixture(scope='module')
def left_alone(tmp_path_factory):
    """Config of a run, and the final state that it comes to."""
    folder = tmp_path_factory.mktemp('left_alone')
    config = write(folder)
    ended = Child(lambda: train([str(config), '--work-dir', str(folder / 'run')]), folder / 'log').wait()
    assert ended.code == 0, ended.output
    return config, final_state(folder / 'run')


def check(work_dir, expected):
    assert differences(expected, final_state(work_dir)) == []
    record = json.loads((work_dir / 'result.json').read_text(encoding='utf-8'))
    assert record['dataset']['name'] == record['protocol']['recipe'] == NAME
    assert record['checkpoint']['file'] == 'epoch_3.pth'
    for file in work_dir.glob('*/vis_data/scalars.json'):
        assert [json.loads(line)['loss'] for line in file.read_text().splitlines() if 'loss' in line]


@pytest.mark.slow
def test_a_clock_that_runs_backwards_changes_nothing(left_alone, tmp_path):
    config, expected = left_alone
    now = [time.time()]

    def backwards():
        now[0] -= 7
        return now[0]

    def body(*options):
        time.time, time.strftime = backwards, lambda form, *_, then=time.strftime: then(form, time.gmtime(backwards()))
        train([str(config), '--work-dir', str(tmp_path / 'run'), '--resume', *options])

    first = Child(lambda: body('--cfg-options', 'train_cfg.max_epochs=1'), tmp_path / 'log').wait()
    assert first.code == 0, first.output
    now[0] -= 86_400  # the second life begins a day before the first
    for path in (tmp_path / 'run').rglob('*'):
        os.utime(path, (time.time() + 1e6,) * 2)
    second = Child(body, tmp_path / 'log').wait()
    assert second.code == 0, second.output
    assert 'complete' not in second.output
    check(tmp_path / 'run', expected)


@pytest.fixture(scope='module')
def german(tmp_path_factory):
    """Folder with a German locale, whose decimal sign is a comma."""
    folder = tmp_path_factory.mktemp('locales')
    if not shutil.which('localedef'):
        pytest.skip('localedef is not installed')
    command = ['localedef', '-i', 'de_DE', '-f', 'UTF-8', str(folder / 'de_DE.UTF-8')]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip('the sources of locales are not installed')
    return folder


@pytest.mark.slow
def test_a_decimal_comma_changes_nothing(left_alone, german, tmp_path):
    config, expected = left_alone

    def body():
        os.environ.update(LOCPATH=str(german), LC_ALL='de_DE.UTF-8')
        locale.setlocale(locale.LC_ALL, '')
        assert f'{1.5:n}' == '1,5'
        train([str(config), '--work-dir', str(tmp_path / 'run')])
        assert f'{1.5:n}' == '1,5'

    ended = Child(body, tmp_path / 'log').wait()
    assert ended.code == 0, ended.output
    check(tmp_path / 'run', expected)


@pytest.mark.slow
def test_names_of_any_language_work_in_a_locale_of_ascii(left_alone, tmp_path):
    config, expected = left_alone
    work_dir = tmp_path / NAME
    command = [sys.executable, 'tools/train.py', str(config), '--work-dir', str(work_dir), '--resume']
    environment = {**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'OMP_NUM_THREADS': '1'}
    for options in (['--cfg-options', 'train_cfg.max_epochs=1'], []):
        done = subprocess.run([*command, *options], capture_output=True, cwd=ROOT, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        assert b'Logging error' not in done.stderr
    assert (work_dir / 'last_checkpoint').read_bytes() == f'{work_dir}/epoch_3.pth'.encode()
    check(work_dir, expected)
