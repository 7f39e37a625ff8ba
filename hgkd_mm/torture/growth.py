"""Memory and file handles over many iterations."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .process import train_child
from .subject import make_images, write_config

#: Iterations between looks.
INTERVAL = 20
#: KiB an iteration that are taken for growth.
LIMIT = 1.0


@HOOKS.register_module()
class GrowthHook(Hook):
    """Note the process's memory and handles in ``<work_dir>/growth.json``."""

    def __init__(self) -> None:
        self.looks: list[tuple[int, int, int]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look."""
        if runner.iter % INTERVAL == 0:
            pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
            kib = pages * os.sysconf('SC_PAGE_SIZE') >> 10
            self.looks.append((runner.iter, kib, len(os.listdir('/proc/self/fd'))))

    def after_train(self, runner: Runner) -> None:
        """Write the looks."""
        Path(runner.work_dir, 'growth.json').write_text(json.dumps(self.looks), encoding='utf-8')


def measure_growth(folder: Path, iterations: int) -> tuple[int, list[str], str]:
    """Train for many iterations, with validation and checkpoints on the way.

    Args:
        folder: To work in.
        iterations: How many are measured, after as many in which caches and pools fill up.

    Returns:
        Iterations, what grew, and the figures.
    """
    config = write_config(folder, make_images(folder / 'images'), 'iterations')
    extra = f"""
train_cfg.update(max_iters={2 * iterations}, val_interval=100)
train_dataloader['batch_size'] = 2
default_hooks['checkpoint'].update(interval=100)
for scheduler in param_scheduler:
    scheduler.update(end={2 * iterations})
del scheduler
custom_hooks.append(dict(type='hgkd_mm.GrowthHook'))
"""
    config.write_text(config.read_text() + extra)
    ended = train_child(config, folder / 'run').wait()
    if ended is None or ended.code:
        return 0, [f'the run failed: {ended.output[-1000:] if ended else ""}'], ''
    looks = np.array(json.loads((folder / 'run' / 'growth.json').read_text(encoding='utf-8')))
    looks = looks[looks[:, 0] >= iterations]
    slope = float(np.polyfit(looks[:, 0], looks[:, 1], 1)[0])
    handles = int(looks[-1, 2] - looks[0, 2])
    wrong = [f'memory grows by {slope:.2f} KiB an iteration'] if slope > LIMIT else []
    wrong += [f'{handles} file handles more'] if handles > 0 else []
    return iterations, wrong, f'{slope:+.2f} KiB an iteration after a warm-up, {handles:+d} file handles'
