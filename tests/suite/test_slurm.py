"""Suites on a real Slurm: one node on loopback, brought up and down by the test."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hgkd_mm.suite.engine import run

from .toys import BOARD, SAVING, WRITE, when_there

ROOT = Path(__file__).parents[2]
# The plug-in waits longer for large clusters.
IMPATIENT = ['--slurm-init-seconds-before-status-checks', '2', '--seconds-between-status-checks', '2']

spec = importlib.util.spec_from_file_location('one_node', ROOT / 'tests/slurm/one_node.py')
one_node = importlib.util.module_from_spec(spec)
spec.loader.exec_module(one_node)


@pytest.fixture(scope='module')
def slurm(tmp_path_factory, engine):
    """Give the environment of a cluster's clients."""
    reason = one_node.why_not()
    if reason:
        pytest.skip(reason)
    with one_node.cluster(tmp_path_factory.mktemp('slurm'), cpus=2) as environment:
        yield environment


@pytest.mark.slow
def test_tiny_suite_on_slurm_gives_records_and_a_page(slurm, tmp_path, write_suite):
    def change(content):
        del content['tasks']['segmentation'], content['pretraining']['hgkd']['pictures']

    suite, work_dir = write_suite(tmp_path / 'tiny.yaml', change), tmp_path / 'work'
    command = [sys.executable, 'tools/benchmark.py', str(suite), '--work-dir', str(work_dir)]
    environment = {**slurm, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    on_slurm = [*command, '--executor', 'slurm', '--jobs', '2', '--', *IMPATIENT]
    done = subprocess.run(on_slurm, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    records = [json.loads(path.read_text()) for path in work_dir.glob('finetune/*/result.json')]
    assert {(record['pretraining'] or {}).get('method') for record in records} == {None, 'HGKD'}
    assert (work_dir / 'leaderboard/index.html').is_file()
    logs = list(work_dir.glob('logs/*/*.log'))
    assert len(logs) == len(list(work_dir.glob('done/*/*.json'))) == 7
    # Every command ran in a job of its own.
    ids = {log.read_text().splitlines()[0].partition('Slurm job ')[2].partition(']')[0] for log in logs}
    assert len(ids) == 7 and all(number.isdigit() for number in ids)
    # The same suite here finds everything done.
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert '0 jobs to run, 7 done' in again.stdout


@pytest.mark.slow
def test_a_job_that_fails_on_slurm_is_explained_and_others_go_on(slurm, toy, capfd, monkeypatch):
    monkeypatch.setattr(os, 'environ', {**os.environ, **slurm})
    plan = toy(
        bad=([], 'print("the reason"); raise SystemExit(3)'),
        good=([], WRITE),
        board=(['bad', 'good'], WRITE),
    )
    start = time.monotonic()
    assert run(plan, 2, 'slurm', IMPATIENT) == 1
    out = capfd.readouterr().out
    assert '  | the reason' in out and '1 failed, 1 not run' in out, f'{time.monotonic() - start:.0f} s: {out}'
    assert plan.path('done/finetune/good-0.json').exists()


@pytest.mark.slow
def test_a_job_that_slurm_tells_to_stop_is_queued_again_and_goes_on(slurm, toy, capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'environ', {**os.environ, **slurm})
    plan = toy(a=([], SAVING), board=(['a'], BOARD))
    # As --signal=TERM@120 does before the time limit.
    tell = ['scancel', '--signal=TERM', '--user', 'root']
    when_there(tmp_path / 'started', lambda: subprocess.run(tell, env=slurm, check=True))
    assert run(plan, 1, 'slurm', IMPATIENT) == 0
    log = plan.path(plan.jobs[0].log).read_text()
    assert 'stopped by a signal; queued again, 1 of at most 10 times' in log
    assert log.count(' Slurm job ') == 2 and 'FAILED' not in capfd.readouterr().out


@pytest.mark.slow
def test_stopping_a_suite_cancels_its_slurm_jobs_and_waits_until_they_have_saved(
    slurm, toy, capfd, monkeypatch, tmp_path
):
    monkeypatch.setattr(os, 'environ', {**os.environ, **slurm})
    plan = toy(a=([], SAVING), board=(['a'], BOARD))
    when_there(tmp_path / 'started', lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(plan, 1, 'slurm', IMPATIENT) == 130
    assert (tmp_path / 'saved').exists() and 'stopped; 0 of 2 jobs' in capfd.readouterr().out
    assert plan.path(plan.jobs[0].log).read_text().splitlines()[-1].startswith('stopped (exit status 75)')
    assert run(plan, 1, 'slurm', IMPATIENT) == 0
