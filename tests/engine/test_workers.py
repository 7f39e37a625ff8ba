"""A data loading process that dies is told of; one that gets the scheduler's signal lives on."""

import multiprocessing
import os
import signal

import pytest
from mmengine.hooks import Hook

from hgkd_mm.engine import train
from hgkd_mm.errors import ProcessError
from hgkd_mm.registry import HOOKS
from hgkd_mm.torture.subject import make_images, write_config


@HOOKS.register_module(force=True)
class SignalWorkers(Hook):
    """Sends a signal to the data loading processes at the third iteration."""

    def __init__(self, number):
        self.number = number

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 2:
            for process in multiprocessing.active_children():
                os.kill(process.pid, self.number)


def run(tmp_path, number):
    config = write_config(tmp_path, make_images(tmp_path / 'images'), 'pretraining')
    hook = f"\ncustom_hooks.append(dict(type='hgkd_mm.SignalWorkers', number={int(number)}))\n"
    config.write_text(config.read_text() + hook)
    train([str(config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', 'num_workers=2', 'max_epochs=2'])


def test_a_dead_worker_ends_the_run_with_a_word(tmp_path):
    with pytest.raises(ProcessError, match=r'a process that loads data is gone.*--resume'):
        run(tmp_path, signal.SIGKILL)


def test_a_worker_outlives_the_signal_that_the_whole_job_gets(tmp_path):
    run(tmp_path, signal.SIGTERM)
    assert (tmp_path / 'run' / 'complete').read_text() == '12\n'
