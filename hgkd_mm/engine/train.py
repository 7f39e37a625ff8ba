"""Training of any config, pretraining or downstream: the logic of ``tools/train.py``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..errors import WeightsError
from ..transfer import apply_pretrained, load_checkpoint_file
from ..transfer.export import read_literals
from .common import add_common_options, build_errors, build_runner, prepare, run_errors
from .config import check_data, load_config
from .precision import amp_helps, enable_amp
from .resume import newest_checkpoint
from .runner import completed_iterations

#: What a hook writes when training ends.
_PRODUCTS = {'ResultHook': 'result.json', 'StudentExportHook': 'backbone.pth'}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line of ``tools/train.py``."""
    parser = argparse.ArgumentParser(description='Train a model: pretraining or a downstream task.')
    add_common_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from a checkpoint; without a value from the newest one in the work dir, if any',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='on',
        choices=['on', 'auto'],
        help='mixed precision, bfloat16 on CPUs; auto: only where a short measurement shows that it is faster',
    )
    parser.add_argument('--seed', type=int, help='same as --cfg-options randomness.seed=SEED')
    return parser.parse_args(argv)


def train(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says; does nothing when a resumed run is complete already.

    Args:
        argv: Arguments; None takes the process's.

    Raises:
        HGKDError: A file, key or option is wrong; the message names it.
    """
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    prepare(cfg, args)
    if args.seed is not None:
        cfg.setdefault('randomness', {})['seed'] = args.seed
    checkpoint = find_checkpoint(cfg, args.resume)
    meta = load_checkpoint_file(checkpoint).get('meta') or {} if checkpoint else {}
    if args.amp == 'on' or (args.amp == 'auto' and (amp_helps(cfg) if checkpoint is None else _had_amp(meta))):
        enable_amp(cfg)
    if checkpoint is not None and is_complete(cfg, checkpoint, meta) and has_products(cfg):
        print(f'{cfg.work_dir}: already complete ({checkpoint}), nothing to do')
        return
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    if checkpoint is None:
        apply_pretrained(cfg)
    else:
        # the checkpoint holds the whole model: what it once started from need not exist any more
        cfg.resume, cfg.load_from = True, checkpoint
        if isinstance(meta.get('seed'), int):  # the data's order comes from it
            cfg.setdefault('randomness', {})['seed'] = meta['seed']
    with run_errors(cfg.work_dir):
        runner = build_runner(cfg, args.config)
        with build_errors(args.config):
            runner.train()


def find_checkpoint(cfg: Config, resume: str | None) -> str | None:
    """Say which checkpoint to go on from.

    Args:
        cfg: The config, with its ``work_dir``.
        resume: None, ``'auto'`` or a path.

    Returns:
        A path, or None to start from the beginning.

    Raises:
        WeightsError: The checkpoint does not exist.
    """
    if resume is None and not cfg.get('resume'):
        return None
    if resume in (None, 'auto'):
        resume = cfg.get('load_from') if resume is None else None
        resume = resume or newest_checkpoint(cfg.work_dir)
        if not resume:  # nothing was written yet
            return None
    if not Path(resume).is_file():
        raise WeightsError(
            f'--resume: checkpoint {resume} does not exist. Give an existing one, or --resume '
            f'alone for the newest in {cfg.work_dir}, or leave it out to start again'
        )
    return resume


def is_complete(cfg: Config, checkpoint: str, meta: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint, with this ``meta``, is the schedule's last and its run came to its end after it."""
    loop = cfg.get('train_cfg') or {}
    if 'iter' not in meta:
        raise WeightsError(
            f'{checkpoint} has no iteration to go on from: it holds weights only. '
            'Use --cfg-options pretrained=FILE for those'
        )
    if completed_iterations(cfg.work_dir) != meta['iter']:
        return False
    if loop.get('max_iters') is not None:
        return meta['iter'] >= loop['max_iters']
    return loop.get('max_epochs') is not None and meta.get('epoch', 0) >= loop['max_epochs']


def _had_amp(meta: Mapping[str, Any]) -> bool:
    """Say whether a checkpoint's run used mixed precision; measuring again could come out differently."""
    wrapper = read_literals(str(meta.get('cfg') or '')).get('optim_wrapper') or {}
    return str(wrapper.get('type')).rpartition('.')[2] in ('AmpOptimWrapper', 'AutocastOptimWrapper')


def has_products(cfg: Config) -> bool:
    """Say whether the files exist that the hooks write after the last epoch; a run may be killed before."""
    names = (hook.get('type', '').split('.')[-1] for hook in cfg.get('custom_hooks') or [])
    return all(Path(cfg.work_dir, _PRODUCTS[name]).is_file() for name in names if name in _PRODUCTS)
