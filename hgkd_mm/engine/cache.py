"""Filling of a teacher's token cache before any training: the logic of ``tools/cache_teacher.py``."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, HOOKS, init_default_scope

from ..errors import ConfigError
from ..hooks.teacher_hook import TeacherHook, fixed_views
from .config import check_data, load_config

#: Seconds between two lines of progress.
_REPORT_EVERY = 10.0


def cache_teacher(argv: Sequence[str] | None = None) -> Path:
    """Write the tokens of every view that a pretraining config shows; go on where a killed run stopped.

    Args:
        argv: Arguments; None takes the process's.

    Returns:
        Folder of the cache.

    Raises:
        ConfigError: The config has no TeacherHook with a ``cache_dir``, or no FixedViews.
        DataError: The images are missing, or the cache belongs to something else.
    """
    parser = argparse.ArgumentParser(description="Write a teacher's tokens of all training views to the disk.")
    parser.add_argument('config', help='pretraining config with a TeacherHook that has a cache_dir')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='as for tools/train.py'
    )
    parser.add_argument('--batch-size', type=int, default=16, help='images at a time (default: %(default)s)')
    args = parser.parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if 'teacher' in hook and hook.get('cache_dir')]
    if len(hooks) != 1:
        raise ConfigError(f'config {args.config}: expected one TeacherHook with a cache_dir, found {len(hooks)}')
    check_data(cfg, ('train_dataloader',))
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    hook: TeacherHook = HOOKS.build(hooks[0])
    hook.open(dataset, 'cuda' if torch.cuda.is_available() else 'cpu')
    fill(hook, dataset, args.batch_size)
    return Path(hook.cache.folder)


def fill(hook: TeacherHook, dataset: BaseDataset, batch_size: int) -> None:
    """Ask the teacher for every view that is not cached yet, in fixed batches, and say how far it is."""
    views = fixed_views(dataset)
    total, start, said = len(dataset) * views.num_views, time.monotonic(), time.monotonic()
    first = int(hook.cache.filled.sum())
    for view in range(views.num_views):
        views.only = view
        for begin in range(0, len(dataset), batch_size):
            indices = range(begin, min(begin + batch_size, len(dataset)))
            ids = torch.tensor([index * views.num_views + view for index in indices])
            if not hook.cache.missing(ids).any():
                continue
            hook.cached(torch.stack([dataset[index]['inputs'] for index in indices]), ids)
            if time.monotonic() - said > _REPORT_EVERY:
                said, done = time.monotonic(), int(hook.cache.filled.sum())
                left = (total - done) * (said - start) / max(1, done - first)
                print(f'tokens: {done}/{total} views, {left:.0f} s left', flush=True)
    views.only = None
    hook.cache.flush()
