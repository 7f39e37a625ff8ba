"""SIGTERM stops a run once, after saving; what launchers send besides does no harm."""

import errno
import os
import signal
from types import SimpleNamespace

import pytest

from hgkd_mm.errors import PreemptedError, StorageError
from hgkd_mm.hooks import PreemptionHook, SafeCheckpointHook
from hgkd_mm.torture.process import Child


class Saving(SafeCheckpointHook):
    """Takes a second SIGTERM while it saves, as from a launcher that passes on what Slurm has sent to all."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def save_iteration(self, runner, iterations):
        os.kill(os.getpid(), signal.SIGTERM)
        if self.file is None:
            raise OSError(errno.ENOSPC, 'No space left on device')
        with self.file.open('a') as file:
            file.write(f'{iterations}\n')
        return self.file


def stop(log, file, signals):
    """In a process of its own: a step, SIGTERM as often as asked, the end of the step, SIGTERM on the way out."""

    def body():
        hook, saving = PreemptionHook(), Saving(file)
        runner = SimpleNamespace(hooks=[saving, hook], work_dir='w', iter=6)
        hook.before_train(runner)
        hook.after_train_iter(runner, 5)
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            hook.after_train_iter(runner, 6)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    return Child(body, log).wait(60)


@pytest.mark.parametrize('signals', [1, 3])
def test_saves_once_and_ends_with_75_however_many_signals_there_are(tmp_path, signals):
    ended = stop(tmp_path / 'log', tmp_path / 'saved', signals)
    assert ended.code == PreemptedError.exit_code == 75, ended.output
    assert (tmp_path / 'saved').read_text() == '7\n'
    assert f'stopped by SIGTERM: saved as {tmp_path}/saved; go on with --resume' in ended.output


def test_what_cannot_be_saved_is_told_by_the_exit_code_and_not_tried_for_ever(tmp_path):
    ended = stop(tmp_path / 'log', None, 1)
    assert ended.code == StorageError.exit_code == 74, ended.output
    assert 'nothing could be saved: [Errno 28] No space left on device' in ended.output


def test_without_a_signal_the_handler_from_before_is_back_after_training():
    before = signal.getsignal(signal.SIGTERM)
    hook, runner = PreemptionHook(), SimpleNamespace(hooks=[], work_dir='w', iter=0)
    hook.before_train(runner)
    assert signal.getsignal(signal.SIGTERM) != before
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    assert signal.getsignal(signal.SIGTERM) == before
