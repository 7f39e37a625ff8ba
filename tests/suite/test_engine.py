"""Toy jobs through the real Snakemake: order, failures, repetition, kills."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hgkd_mm.errors import ConfigError, HGKDError
from hgkd_mm.suite import job
from hgkd_mm.suite.engine import find_snakemake, locked, run

from .toys import BOARD, SAVING, WRITE, when_there


def test_jobs_run_once_in_order_and_the_table_is_shown(toy, capfd):
    plan = toy(
        a=([], WRITE),
        b=(['a'], 'assert Path("work/finetune/a-0/result.json").exists(); ' + WRITE),
        board=(['b'], BOARD),
    )
    assert run(plan, 2, dry=True) == 0
    out = capfd.readouterr().out
    assert 'finetune b' in out and 'toy: 3 jobs to run, 0 done; about 3 s with 2 at a time' in out
    assert not plan.path('done').exists()
    assert run(plan, 2) == 0
    out = capfd.readouterr().out
    assert '[3/3] finished  leaderboard' in out and '| the table |' in out
    before = {path: path.stat().st_mtime_ns for path in plan.path('.').rglob('*.json') if path.name != 'plan.json'}
    assert run(plan, 2) == 0
    assert 'toy: 0 jobs to run, 3 done' in capfd.readouterr().out
    assert before == {
        path: path.stat().st_mtime_ns for path in plan.path('.').rglob('*.json') if path.name != 'plan.json'
    }


def test_a_failed_job_stops_only_what_needs_it_and_is_explained(toy, capfd):
    plan = toy(
        bad=([], 'print("the reason"); raise SystemExit(3)'),
        after=(['bad'], WRITE),
        good=([], WRITE),
        board=(['after', 'good'], BOARD),
    )
    assert run(plan, 1) == 1
    out = capfd.readouterr().out
    assert [one.name for one in plan.jobs if plan.path(one.stamp).exists()] == ['finetune/good-0']
    assert '  | the reason\n  | error: exit status 3' in out and '1 failed, 2 not run' in out
    command = out.split('run it again with:\n')[1].split('\n')[0].split()
    # The command that was shown runs that job, and the suite goes on from there.
    (bad,) = (one for one in plan.jobs if one.name == 'finetune/bad-0')
    mended = replace(bad, command=(*bad.command[:2], f'open({bad.product!r}, "w")'))
    mended = replace(plan, jobs=tuple(mended if one is bad else one for one in plan.jobs))
    mended.save()
    assert subprocess.run(command, cwd=plan.cwd, check=False).returncode == 0
    assert run(mended, 1) == 0
    assert 'toy: 2 jobs to run, 2 done' in capfd.readouterr().out


def test_a_product_that_was_removed_is_made_again(toy, capfd):
    plan = toy(a=([], WRITE), b=([], WRITE), board=(['a', 'b'], BOARD))
    assert run(plan, 1) == 0
    Path(plan.jobs[0].product).unlink()
    capfd.readouterr()
    assert run(plan, 1) == 0
    out = capfd.readouterr().out
    assert 'finetune a counts as not done' in out and 'toy: 2 jobs to run, 1 done' in out  # and the leaderboard


def test_a_suite_runs_once_at_a_time(toy):
    plan = toy(a=([], WRITE), board=(['a'], BOARD))
    with locked(plan), pytest.raises(HGKDError, match='running already'):
        run(plan, 1)


def test_a_job_left_over_by_a_killed_suite_is_waited_for(toy, tmp_path):
    alone = 'import time; alone = Path("alone"); alone.touch(exist_ok=False); time.sleep(2); alone.unlink(); '
    plan = toy(a=([], alone + WRITE), board=(['a'], BOARD))
    plan.save()
    script = [sys.executable, job.__file__, str(plan.path('plan.json')), 'finetune/a-0']
    orphaning = subprocess.Popen(script)
    while not (tmp_path / 'alone').exists():
        time.sleep(0.05)
    orphaning.kill()  # and not its command
    orphaning.wait()
    # A second command beside the first one would fail.
    assert subprocess.run(script, check=False).returncode == 0
    assert not (tmp_path / 'alone').exists() and plan.path(plan.jobs[0].stamp).exists()


def test_a_job_that_a_signal_stopped_goes_on_and_does_not_count_as_failed(toy, capfd):
    once = 'first = not Path("before").exists(); Path("before").touch(); exit(75) if first else '
    plan = toy(a=([], once + WRITE), board=(['a'], BOARD))
    assert run(plan, 1) == 0
    out = capfd.readouterr().out
    assert 'finished  finetune a' in out and 'FAILED' not in out and '| the table |' in out


def test_a_job_that_snakemake_tries_again_does_not_count_as_failed_when_it_succeeds(toy, capfd):
    once = 'first = not Path("before").exists(); Path("before").touch(); exit(3) if first else '
    plan = toy(a=([], once + WRITE), board=(['a'], BOARD))
    assert run(plan, 1, extra=['--retries', '1']) == 0
    out = capfd.readouterr().out
    assert 'FAILED    finetune a' in out and '[2/2] finished  leaderboard' in out and 'run it again' not in out


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_suite_that_is_asked_to_stop_lets_its_jobs_save_and_goes_on_later(number, code, toy, capfd, tmp_path):
    plan = toy(a=([], WRITE), b=(['a'], SAVING), c=(['b'], WRITE), board=(['c'], BOARD))

    asked = []

    def interrupt():
        asked.append(time.monotonic())
        os.kill(os.getpid(), number)

    when_there(tmp_path / 'started', interrupt)
    assert run(plan, 1) == code
    assert time.monotonic() - asked[0] < job.GRACE
    out = capfd.readouterr().out
    assert (tmp_path / 'saved').exists() and 'FAILED' not in out and 'stopping: running jobs save' in out
    assert out.splitlines()[-1].startswith('stopped; 1 of 4 jobs are done. Go on with: ')
    assert [one.name for one in plan.jobs if plan.path(one.stamp).exists()] == ['finetune/a-0']
    assert run(plan, 1) == 0
    assert 'toy: 3 jobs to run, 1 done' in capfd.readouterr().out


def test_a_suite_in_a_shells_background_starts_nothing_more_once_it_is_stopped(toy, tmp_path):
    waiting = 'import time; open("ran", "a").write("x"); time.sleep(60); ' + WRITE
    plan = toy(a=([], waiting), b=([], waiting), board=(['a', 'b'], BOARD))

    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `sh -c 'python tools/benchmark.py SUITE &'` has it
    try:
        when_there(tmp_path / 'ran', lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert run(plan, 1) == 75
    finally:
        signal.signal(signal.SIGINT, usual)
    assert (tmp_path / 'ran').read_text() == 'x'


def test_missing_snakemake_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv('HGKD_SNAKEMAKE', str(tmp_path / 'none'))
    with pytest.raises(ConfigError, match='make env-suite'):
        find_snakemake()
