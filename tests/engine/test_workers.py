"""A data loading process that dies is told of; one that gets the scheduler's signal lives on."""

import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from hgkd_mm.engine import train
from hgkd_mm.engine.common import run_errors
from hgkd_mm.engine.sampler import outlive_sigterm
from hgkd_mm.errors import ProcessError
from hgkd_mm.registry import HOOKS
from hgkd_mm.torture.subject import make_images, write_config


@HOOKS.register_module(force=True)
class SignalWorkers(Hook):
    """Has a signal sent to the data loading processes by another one, in every iteration from one on.

    Args:
        number: Of the signal.
        first: Iteration.
    """

    def __init__(self, number, first):
        self.number, self.first = number, first
        self.reached = set()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter >= self.first:
            workers = {process.pid for process in multiprocessing.active_children()}
            subprocess.run(['kill', f'-{self.number}', *map(str, workers)], check=True)
            self.reached |= workers

    def after_train(self, runner):
        Path(runner.work_dir, 'reached').write_text(str(len(self.reached)))


def run(tmp_path, number, subject='pretraining', first=2):
    config = write_config(tmp_path, make_images(tmp_path / 'images'), subject)
    hook = f"\ncustom_hooks.append(dict(type='hgkd_mm.SignalWorkers', number={int(number)}, first={first}))\n"
    config.write_text(config.read_text() + hook)
    train([str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', 'num_workers=2', 'max_epochs=2'])


def test_a_dead_worker_ends_the_run_with_a_word(tmp_path):
    with pytest.raises(ProcessError, match=r'a process that loads data is gone.*--resume'):
        run(tmp_path, signal.SIGKILL)
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL  # so the other one's end raises nothing anywhere else


@pytest.mark.parametrize('error', [ConnectionResetError(104, 'reset'), EOFError(), RuntimeError('0 items of ancdata')])
def test_a_worker_that_dies_while_it_hands_over_a_batch_is_told_of(monkeypatch, error):
    def get(timeout=None):
        raise error

    def take_a_batch():
        batches = iter(DataLoader([1, 2], num_workers=1))
        try:
            with monkeypatch.context() as patch:
                patch.setattr(batches._data_queue, 'get', get)
                next(batches)
        finally:
            batches._shutdown_workers()

    with pytest.raises(ProcessError, match=r'run: a process that loads data is gone: .*--resume'), run_errors('run'):
        take_a_batch()
    with pytest.raises(type(error)), run_errors('run'):  # anywhere else it is what it is
        raise type(error)(*error.args)


@pytest.mark.parametrize(('subject', 'first', 'workers'), [('pretraining', 2, 2), ('fine-tuning', 7, 4)])
def test_workers_outlive_the_signals_that_the_whole_job_gets(tmp_path, subject, first, workers):
    # of validation too, in the epoch after one
    run(tmp_path, signal.SIGTERM, subject, first)
    assert (tmp_path / 'run' / 'complete').read_text() == '12\n'
    assert (tmp_path / 'run' / 'reached').read_text() == str(workers)


def test_a_worker_ends_when_its_own_training_says_so(tmp_path):
    context = multiprocessing.get_context('fork')
    ready = context.Event()

    def work():
        outlive_sigterm()
        ready.set()
        time.sleep(60)

    process = context.Process(target=work, daemon=True)
    process.start()
    assert ready.wait(30)
    other = context.Process(target=os.kill, args=(process.pid, signal.SIGTERM))
    other.start()
    other.join()
    process.join(0.5)
    assert process.is_alive() and other.exitcode == 0
    process.terminate()
    process.join(30)
    assert process.exitcode == 0
