"""The scripts for Slurm and several processes hand everything on; a missing argument is told."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = ['bash', str(ROOT / 'tools' / script), *arguments]
    usual = {name: value for name, value in os.environ.items() if name != 'PYTHON'}  # which the scripts obey
    return subprocess.run(command, capture_output=True, text=True, env={**usual, **environment}, check=False)


@pytest.fixture
def recorder(tmp_path):
    """Folder of stand-ins for `srun` and `python` which print their arguments, one a line."""
    for name in ('srun', 'python'):
        path = tmp_path / name
        path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        path.chmod(0o755)
    return {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}


@pytest.mark.parametrize(('tool', 'files'), [('train', ['c.py']), ('test', ['c.py', 'epoch_1.pth'])])
def test_slurm_scripts_ask_for_the_gpus_and_hand_on_the_rest(recorder, tool, files):
    options = ['--cfg-options', 'a=b c']
    sizes = {'GPUS': '16', 'GPUS_PER_NODE': '8', 'CPUS_PER_TASK': '4', 'SRUN_ARGS': '--time=1 --quiet'}
    done = run(f'slurm_{tool}.sh', 'part', 'job', *files, *options, **recorder, **sizes)
    words = done.stdout.splitlines()
    assert words[:2] == ['--partition=part', '--job-name=job']
    assert {'--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8', '--cpus-per-task=4', '--time=1', '--quiet'} < {*words}
    script = words.index(str(ROOT / 'tools' / f'{tool}.py'))
    assert words[script - 2 : script] == ['python', '-u']
    assert words[script + 1 :] == [*files, '--launcher', 'slurm', *options]
    few = run(f'slurm_{tool}.sh', 'part', 'job', *files, **recorder, GPUS='2').stdout.splitlines()
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2'} < {*few}


@pytest.mark.parametrize(('tool', 'files'), [('train', ['c.py']), ('test', ['c.py', 'epoch_1.pth'])])
def test_dist_scripts_start_the_processes_and_hand_on_the_rest(recorder, tool, files):
    machines = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'host', 'PORT': '1234'}
    words = run(f'dist_{tool}.sh', *files, '4', '--resume', **recorder, **machines).stdout.splitlines()
    assert words[:2] == ['-m', 'torch.distributed.run']
    assert {'--nnodes=2', '--node-rank=1', '--nproc-per-node=4', '--master-addr=host', '--master-port=1234'} < {*words}
    script = words.index(str(ROOT / 'tools' / f'{tool}.py'))
    assert words[script + 1 :] == [*files, '--launcher', 'pytorch', '--resume']


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_missing_arguments_are_told(script):
    done = run(script, 'only-one')
    assert done.returncode == 2 and done.stderr.startswith('usage: ')
