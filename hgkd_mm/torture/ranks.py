"""Two processes on CPUs; one dies, or some get SIGTERM. The job ends soon, says what it was, and goes on from there."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ..errors import HGKDError, PreemptedError
from ..registry import HOOKS
from .kills import differences, final_state
from .process import Child, Ended
from .subject import make_images, write_config

#: Seconds after which a job with a dead process must be over.
BOUND = 40.0
#: What happens, and to which process; a job is the launcher and all processes, as Slurm stops one.
DEATHS = ('SIGKILL of rank 1', 'SIGKILL of rank 0', 'exception in rank 1')
STOPS = (
    'SIGTERM of rank 1',
    'SIGTERM of rank 0',
    'SIGTERM of launcher',
    'SIGTERM of job',
    'SIGTERM of rank 1 validating',
)


@HOOKS.register_module()
class DieHook(Hook):
    """Lets a process of a distributed run die, or asks some to stop.

    Args:
        how: One of ``DEATHS`` or ``STOPS``.
        iteration: Before which.
    """

    def __init__(self, how: str, iteration: int) -> None:
        self.how, self.iteration = how, iteration

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Die."""
        if runner.iter == self.iteration and 'validating' not in self.how:
            self._die(runner)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Die."""
        if runner.iter >= self.iteration and batch_idx == 0 and 'validating' in self.how:
            self._die(runner)

    def _die(self, runner: Runner) -> None:
        if 'launcher' in self.how and runner.rank == 0:
            os.kill(os.getppid(), signal.SIGTERM)
        elif 'job' in self.how:
            for pid in (os.getpid(), *[os.getppid()][runner.rank :]):
                os.kill(pid, signal.SIGTERM)
        elif f'rank {runner.rank}' in self.how:
            print(f'died at {time.monotonic()}', flush=True)
            if 'exception' in self.how:
                raise RuntimeError('the torture asked for it')
            os.kill(os.getpid(), signal.Signals[self.how.split()[0]])


def _rank(argv: list[str]) -> None:
    import torch

    from ..engine import train

    torch.set_num_threads(1)
    try:
        train(argv)
    except HGKDError as error:
        print(f'error: {error}\nrank {os.environ["RANK"]} ended with {error.exit_code}', flush=True)
        sys.exit(error.exit_code)


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


def write_rank_config(folder: Path, name: str, how: str = '') -> Path:
    """Write the config of a subject for two processes.

    Args:
        folder: To work in.
        name: Of the subject.
        how: One of ``DEATHS`` or ``STOPS``; empty for a run that is left alone.

    Returns:
        The config file.
    """
    config = write_config(folder, make_images(folder / 'images'), name)
    # 24 images by 2 processes in batches of 5: the last ones of an epoch are smaller, where they are not dropped
    loaders = ('train', 'val') if name == 'fine-tuning' else ('train',)
    text = config.read_text(encoding='utf-8') + ''.join(f"\n{n}_dataloader['batch_size'] = 5\n" for n in loaders)
    text += "sync_bn = 'torch'\n"  # BatchNorm's buffers are those of both, so one checkpoint holds all there is
    if how:
        text += "custom_imports['imports'].append('hgkd_mm.torture.ranks')\n"
        text += f"custom_hooks.append(dict(type='hgkd_mm.DieHook', how={how!r}, iteration=4))\n"
    path = config.with_name(f'{name}-{how.replace(" ", "-") or "whole"}.py')
    path.write_text(text, encoding='utf-8')
    return path


def kill_ranks(folder: Path, count: int) -> tuple[int, list[str], str]:
    """Let ranks die, see that the job ends, and resume it.

    Args:
        folder: To work in.
        count: Of ``DEATHS``, from the first.

    Returns:
        Deaths, what went wrong, and how long the jobs outlived them.
    """
    outlived: list[float] = []
    wrong = _try(folder, 'fine-tuning', DEATHS[:count], lambda death, ended: _fault_of_death(death, ended, outlived))
    return min(count, len(DEATHS)), wrong, f'over at most {max(outlived, default=0):.1f} s after the death'


def stop_ranks(folder: Path, count: int) -> tuple[int, list[str], str]:
    """Send SIGTERM to ranks and launchers, see that each rank ends as documented after one checkpoint, and resume.

    Args:
        folder: To work in.
        count: Of ``STOPS``, from the first.

    Returns:
        Stops, what went wrong, and who got the signal.
    """
    stops, wrong = STOPS[:count], []
    for name in ('pretraining', 'fine-tuning'):
        chosen = [stop for stop in stops if ('validating' in stop) == (name == 'fine-tuning')]
        wrong += _try(folder, name, chosen, _fault_of_stop)
    return len(stops), wrong, '; '.join(stop.removeprefix('SIGTERM of ') for stop in stops)


def _try(folder: Path, name: str, ways: Sequence[str], fault_of: Callable[[str, Ended], str]) -> list[str]:
    """Run a subject to its end and, in each way, until something happens; resume it; say what went wrong."""
    if not ways:
        return []
    config = write_rank_config(folder, name)
    whole = launch(config, folder / name)
    if whole.code:
        return [f'{name}: the run that was left alone failed: {whole.output[-1500:]}']
    expected, wrong = final_state(folder / name), []
    for how in ways:
        work_dir = folder / how.replace(' ', '-')
        ended = launch(write_rank_config(folder, name, how), work_dir)
        fault = fault_of(how, ended)
        if fault:
            wrong.append(f'{how}: {fault}: exit code {ended.code}: {ended.output[-1500:]}')
        resumed = launch(config, work_dir)
        if resumed.code:
            wrong.append(f'{how}: did not resume: {resumed.output[-600:]}')
        else:
            wrong += [f'{how}: {d}' for d in differences(expected, final_state(work_dir))]
    return wrong


def _fault_of_death(death: str, ended: Ended, outlived: list[float]) -> str:
    died = re.search(r'died at ([\d.]+)', ended.output)
    if not died or not ended.code:
        return 'went on'
    outlived.append(time.monotonic() - float(died[1]))
    if outlived[-1] > BOUND:
        return f'the job went on for {outlived[-1]:.0f} s'
    reason = 'SIGKILL' if 'SIGKILL' in death else 'the torture asked for it'
    if not re.search(rf'rank\s*:\s*{death[-1]}\b', ended.output) or reason not in ended.output:
        return 'no word of rank and reason'
    return ''


def _fault_of_stop(stop: str, ended: Ended) -> str:
    codes = dict(re.findall(r'rank (\d) ended with (\d+)', ended.output))
    if codes != dict.fromkeys('01', str(PreemptedError.exit_code)):
        return f'ranks ended with {codes}'
    saved = set(re.findall(r'saved as (\S+);', ended.output))
    # both name the same checkpoint: they stopped after the same step, one of epoch 2 or 3
    if len(saved) != 1 or not Path(saved.pop()).is_file():
        return 'not one checkpoint'
    return ''
