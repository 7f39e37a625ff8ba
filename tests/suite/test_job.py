"""The script around a job's command: what it does about signals, and what it says."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hgkd_mm.suite import job
from hgkd_mm.suite.plan import Job, Plan

# Counts its starts in a file, and saves when it is asked to stop.
COUNT = """
import os, signal, sys, time
open("starts", "a").write("x")
"""
STARTS = 'len(open("starts").read())'
DONE = 'open("product", "w").close()'
SAVE = """
def save(number, frame):
    open("asked", "a").write("x")
    time.sleep(0.3)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
open("ready", "w").close()
time.sleep(60)
"""
DEAF = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("ready", "w").close()
time.sleep(60)
"""


@pytest.fixture
def script(tmp_path):
    """Give a function that starts the script on a command of this code."""

    def start(code, *arguments, path='', grace=job.GRACE, **variables):
        command = (sys.executable, '-c', f'{COUNT}\n{code}')
        one = Job('finetune/a-0', 'finetune', 'finetune', (), command, 'product', 1.0)
        plan = Plan('toy', str(tmp_path), '.', (one,)).save()
        program = f'import runpy, sys; sys.argv = {["job.py", str(plan), one.name, *arguments]!r}'
        program += f'\nsource = open({job.__file__!r}).read().replace("GRACE = 60", "GRACE = {grace}")'
        program += '\nexec(compile(source, "job.py", "exec"))'
        environment = {**os.environ, 'PATH': f'{path}:{os.environ["PATH"]}', **variables}
        return subprocess.Popen([sys.executable, '-c', program], env=environment, start_new_session=True)

    return start


@pytest.fixture
def said(tmp_path):
    """Give a function that returns the last line of the job's log, and how often the command was started."""

    def read():
        last = (tmp_path / 'logs/finetune/a-0.log').read_text().splitlines()[-1]
        return last, len((tmp_path / 'starts').read_text())

    return read


def wait_for(path):
    limit = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < limit, f'{path} was not written'
        time.sleep(0.02)


@pytest.mark.parametrize('end', ['sys.exit(75)', 'os.kill(os.getpid(), signal.SIGTERM)'])
def test_a_command_that_a_signal_stopped_is_started_again(end, script, said, tmp_path):
    assert script(f'{DONE} if {STARTS} == 3 else {end}').wait() == 0
    assert said()[1] == 3
    assert 'started again, 2 of at most 10 times' in (tmp_path / 'logs/finetune/a-0.log').read_text()
    assert (tmp_path / 'done/finetune/a-0.json').exists()


@pytest.mark.parametrize(
    ('code', 'status', 'last', 'starts'),
    [
        ('sys.exit(75)', 75, 'error: exit status 75 after 10 restarts', 11),
        ('sys.exit(3)', 3, 'error: exit status 3', 1),
        ('os.kill(os.getpid(), signal.SIGSEGV)', 1, f'error: exit status {-signal.SIGSEGV}', 1),
        ('pass', 1, 'error: exit status 0, but ', 1),
    ],
)
def test_what_fails_is_not_started_for_ever(code, status, last, starts, script, said, tmp_path):
    assert script(code).wait() == status
    assert said()[0].startswith(last) and said()[1] == starts
    assert not (tmp_path / 'done').exists()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_the_command_is_told_once_and_not_started_again(number, script, said, tmp_path):
    process = script(SAVE)
    wait_for(tmp_path / 'ready')
    os.killpg(process.pid, number)  # as a terminal does
    assert process.wait(timeout=20) == job.STOPPED
    assert (tmp_path / 'asked').read_text() == 'x'
    assert said() == ('stopped (exit status 75); the next run of the suite goes on from here', 1)


@pytest.mark.parametrize(('grace', 'signals'), [(1, 1), (60, 2)])
def test_a_command_that_does_not_listen_ends_after_the_grace_or_when_asked_twice(
    grace, signals, script, said, tmp_path
):
    process = script(DEAF, grace=grace)
    wait_for(tmp_path / 'ready')
    for _ in range(signals):
        process.terminate()
        time.sleep(0.2)
    assert process.wait(timeout=20) == job.STOPPED
    assert said()[0].startswith(f'stopped (exit status {-signal.SIGKILL})')


def test_waiting_for_a_left_over_command_can_be_stopped(script, tmp_path):
    first = script(SAVE)
    wait_for(tmp_path / 'ready')
    second = script(SAVE)
    time.sleep(0.5)
    second.terminate()
    assert second.wait(timeout=20) == job.STOPPED
    assert len((tmp_path / 'starts').read_text()) == 1
    first.terminate()
    first.wait(timeout=20)


@pytest.mark.parametrize(
    ('state', 'count', 'again', 'last'),
    [
        ('RUNNING', '0', True, 'stopped by a signal; queued again, 1 of at most 10 times'),
        ('CANCELLED', '0', False, 'error: exit status 75'),
        ('RUNNING', '10', False, 'error: exit status 75'),
    ],
)
def test_on_slurm_a_stopped_job_goes_back_to_the_queue_unless_it_was_cancelled(
    state, count, again, last, script, said, tmp_path
):
    programs = tmp_path / 'bin'
    programs.mkdir()
    for name, line in (('squeue', f'echo {state}'), ('scontrol', f'echo "$@" > {tmp_path}/requeued')):
        (programs / name).write_text(f'#!/bin/sh\n{line}\n')
        (programs / name).chmod(0o755)
    process = script('sys.exit(75)', '--requeue', path=programs, SLURM_JOB_ID='42', SLURM_RESTART_COUNT=count)
    assert process.wait() == job.STOPPED
    assert said() == (last, 1)
    requeued = tmp_path / 'requeued'
    assert (requeued.read_text() if requeued.exists() else None) == ('requeue 42\n' if again else None)
