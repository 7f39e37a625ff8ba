"""Two processes on CPUs; one dies. The job ends soon, says which and why, and goes on from there."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ..registry import HOOKS
from .kills import differences, final_state
from .process import Child, Ended
from .subject import make_images, write_config

#: Seconds after which a job with a dead process must be over.
BOUND = 40.0
DEATHS = ('SIGKILL of rank 1', 'SIGKILL of rank 0', 'exception in rank 1')


@HOOKS.register_module()
class DieHook(Hook):
    """Lets a process of a distributed run die.

    Args:
        rank: Which.
        iteration: Before which.
        how: ``'SIGKILL'`` or ``'exception'``.
    """

    def __init__(self, rank: int, iteration: int, how: str) -> None:
        self.rank, self.iteration, self.how = rank, iteration, how

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Die."""
        if runner.rank == self.rank and runner.iter == self.iteration:
            print(f'died at {time.time()}', flush=True)
            if self.how == 'SIGKILL':
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError('the torture asked for it')


def _rank(argv: list[str]) -> None:
    import torch

    from ..engine import train

    torch.set_num_threads(1)
    train(argv)


def launch(config: Path, work_dir: Path) -> Ended:
    """Run a config in two processes as ``torchrun`` does, forked."""
    argv = [str(config), '--work-dir', str(work_dir), '--resume', '--launcher', 'pytorch']
    launcher = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend='c10d', rdzv_endpoint='localhost:0',
        run_id=work_dir.name, max_restarts=0, start_method='fork', monitor_interval=0.2,
    )  # fmt: skip
    child = Child(lambda: elastic_launch(launcher, _rank)(argv), work_dir.with_suffix('.log'))
    ended = child.wait(240)
    if ended is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return Ended(-9, 'ran for four minutes', 240)
    return ended


def kill_ranks(folder: Path, count: int) -> tuple[int, list[str], str]:
    """Let ranks die, see that the job ends, and resume it.

    Args:
        folder: To work in.
        count: Of ``DEATHS``, from the first.

    Returns:
        Deaths, what went wrong, and how long the jobs outlived them.
    """
    config = write_config(folder, make_images(folder / 'images'), 'fine-tuning')
    # 24 images by 2 processes in batches of 5: the last ones are smaller
    text = config.read_text() + "\ntrain_dataloader['batch_size'] = 5\nval_dataloader['batch_size'] = 5\n"
    text += "sync_bn = 'torch'\n"  # BatchNorm's buffers are those of both, so one checkpoint holds all there is
    config.write_text(text)
    whole = launch(config, folder / 'whole')
    if whole.code:
        return 0, [f'the run that was left alone failed: {whole.output[-1500:]}'], ''
    expected, wrong, outlived = final_state(folder / 'whole'), [], []
    for number, death in enumerate(DEATHS[:count]):
        rank, how = int(death[-1]), death.split()[0]
        deadly = config.with_name(f'deadly-{number}.py')
        hook = f"\ncustom_hooks.append(dict(type='hgkd_mm.DieHook', rank={rank}, iteration=5, how={how!r}))\n"
        deadly.write_text(text + hook)
        ended = launch(deadly, folder / f'run-{number}')
        died = re.search(r'died at ([\d.]+)', ended.output)
        if not died or not ended.code:
            wrong.append(f'{death}: exit code {ended.code}: {ended.output[-600:]}')
            continue
        outlived.append(time.time() - float(died[1]))
        if outlived[-1] > BOUND:
            wrong.append(f'{death}: the job went on for {outlived[-1]:.0f} s')
        reason = 'SIGKILL' if how == 'SIGKILL' else 'the torture asked for it'
        if not re.search(rf'rank\s*:\s*{rank}\b', ended.output) or reason not in ended.output:
            wrong.append(f'{death}: no word of rank and reason: {ended.output[-1500:]}')
        resumed = launch(config, folder / f'run-{number}')
        if resumed.code:
            wrong.append(f'{death}: did not resume: {resumed.output[-600:]}')
        else:
            wrong += [f'{death}: {d}' for d in differences(expected, final_state(folder / f'run-{number}'))]
    return min(count, len(DEATHS)), wrong, f'over at most {max(outlived, default=0):.1f} s after the death'
