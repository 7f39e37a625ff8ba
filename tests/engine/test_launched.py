"""Two processes under `tools/dist_train.sh`: a death and a stop end the job soon, named, and it goes on from there."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hgkd_mm.torture.kills import differences, final_state
from hgkd_mm.torture.ranks import BOUND, write_rank_config

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'PORT': '29717'}


def launch(config, work_dir):
    command = ['bash', 'tools/dist_train.sh', str(config), '2', '--work-dir', str(work_dir), '--resume']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=600)
    return done.returncode, done.stdout + done.stderr, time.monotonic()


@pytest.fixture(scope='module')
def left_alone(tmp_path_factory):
    """Config of a run, and the final state that it comes to."""
    folder = tmp_path_factory.mktemp('left_alone')
    config = write_rank_config(folder, 'pretraining')
    code, output, _ = launch(config, folder / 'run')
    assert code == 0, output
    return config, final_state(folder / 'run')


def resume_and_compare(left_alone, work_dir):
    config, expected = left_alone
    code, output, _ = launch(config, work_dir)
    assert code == 0, output
    assert 'iter_' not in ' '.join(path.name for path in work_dir.glob('*.pth'))
    assert differences(expected, final_state(work_dir)) == []


@pytest.mark.slow
def test_a_killed_rank_takes_the_job_down_soon_with_its_name_and_the_run_resumes(left_alone, tmp_path):
    config = write_rank_config(tmp_path, 'pretraining', 'SIGKILL of rank 1')
    code, output, end = launch(config, tmp_path / 'run')
    assert code == 1
    assert end - float(re.search(r'died at ([\d.]+)', output)[1]) < BOUND
    # the report's first: the rank that was killed, not the one that lost it
    root_cause = output.partition('Root Cause (first observed failure)')[2]
    assert re.search(r'rank\s*:\s*1 ', root_cause) and re.search(r'exitcode\s*:\s*-9', root_cause), output
    assert 'Signal 9 (SIGKILL)' in root_cause
    assert 'rank 0 lost another process of the run, which the launcher names' in output
    resume_and_compare(left_alone, tmp_path / 'run')


@pytest.mark.slow
@pytest.mark.parametrize('who', ['rank 1', 'job'])
def test_sigterm_saves_once_whoever_gets_it_and_the_run_resumes(left_alone, tmp_path, who):
    config = write_rank_config(tmp_path, 'pretraining', f'SIGTERM of {who}')
    code, output, _ = launch(config, tmp_path / 'run')
    assert code == 1
    errors = re.findall(r'^error: .*stopped by .* saved as (\S+);', output, re.M)
    assert errors == [str(tmp_path / 'run' / 'iter_5.pth')] * 2, output
    if who == 'rank 1':  # torchrun reports those that failed by themselves
        assert set(re.findall(r'exitcode\s*:\s*(-?\d+)', output)) == {'75'}
        assert 'stopped by a signal to another process' in output
    resume_and_compare(left_alone, tmp_path / 'run')
