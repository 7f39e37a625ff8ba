import os
import signal
import subprocess
import sys

import pytest

from hgkd_mm.suite.stop import Stop

LISTENS = 'import signal, time; signal.signal(signal.SIGINT, lambda *_: exit(7)); print(flush=True); time.sleep(60)'


def start(code):
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    return process


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)])
def test_a_signal_is_passed_on_as_sigint_and_decides_the_exit_code(number, code):
    before = signal.getsignal(number)
    with Stop() as stop:
        stop.process = start(LISTENS)
        assert not stop.check() and stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop.check() and not stop.check()
        assert stop.process.wait(timeout=20) == 7
        assert stop.exit_code == code
    assert signal.getsignal(number) == before


def test_after_the_limit_everything_is_killed(monkeypatch):
    monkeypatch.setattr('hgkd_mm.suite.stop._LIMIT', -1.0)
    with Stop() as stop:
        stop.process = start(LISTENS.replace('lambda *_: exit(7)', 'signal.SIG_IGN'))
        os.kill(os.getpid(), signal.SIGTERM)
        stop.check()
        assert stop.process.poll() is None
        stop.check()
        assert stop.process.wait(timeout=20) == -signal.SIGKILL


def test_signals_that_were_ignored_stay_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received == [] and not stop.check()
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_logs_that_are_written_to_are_waited_for(tmp_path):
    log = tmp_path / 'a.log'
    code = 'import fcntl, sys, time; fcntl.flock(f := open(sys.argv[1], "a"), 2); print(flush=True); time.sleep(1)'
    writer = subprocess.Popen([sys.executable, '-c', code, str(log)], stdout=subprocess.PIPE)
    writer.stdout.readline()
    Stop().wait_for([log, tmp_path / 'never-there.log'])
    assert writer.wait(timeout=5) == 0
