"""What training and testing share: options, device-dependent defaults, building of the runner."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from ..errors import ConfigError, HGKDError

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options which ``tools/train.py`` and ``tools/test.py`` have in common."""
    parser.add_argument('config', help='config file: classification, detection, segmentation or pretraining')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results; default: work_dirs/CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings, e.g. width=64 train_cfg.max_epochs=5 data_root=data/other',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run are started',
    )
    # torch.distributed.launch passes it; mmengine reads the environment variable
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def prepare(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the common options and make the config fit this machine; changes it in place."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(args.config).stem))
    if not torch.cuda.is_available():
        _fit_to_cpus(cfg)
    if cfg.launcher != 'none':
        _distribute(cfg)
    for name in _LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        if cfg.get('default_scope') == 'mmpretrain':
            # mmpretrain's own entry script does this: its preprocessors take stacked images
            loader.setdefault('collate_fn', dict(type='default_collate'))
        loader.setdefault('pin_memory', torch.cuda.is_available())
        # PyTorch refuses persistent workers when there are none
        loader.persistent_workers = loader.get('num_workers', 0) > 0


def _fit_to_cpus(cfg: Config) -> None:
    """Replace what mmengine and torch have for GPUs only."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper':  # --amp gives bfloat16 on CPUs
        wrapper['type'] = 'OptimWrapper'
        wrapper.pop('loss_scale', None)


def _distribute(cfg: Config) -> None:
    """Let the model's wrapper synchronise BatchNorm: mmengine's conversion knows neither CPUs nor sparse layers."""
    if cfg.get('model_wrapper_cfg') is None and cfg.get('sync_bn') in (None, 'torch'):
        cfg.model_wrapper_cfg = dict(
            type='hgkd_mm.DistributedModel',
            sync_bn=cfg.get('sync_bn') is not None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        cfg.sync_bn = None
    if not torch.cuda.is_available() and not torch.distributed.is_initialized():  # mmengine's own call wants a GPU
        torch.distributed.init_process_group(backend='gloo')


@contextmanager
def build_errors(config: str) -> Iterator[None]:
    """Turn mmengine's errors about wrong arguments and unknown classes into config errors."""
    try:
        yield
    except HGKDError:
        raise
    except Exception as error:
        text = str(error.args[0] if error.args else error)
        if re.search(r'class `?\w+`? in \S+:|is not in the .* registry|unexpected keyword argument', text):
            raise ConfigError(f'config {config}: {text}') from error
        raise


def build_runner(cfg: Config, config: str) -> Runner:
    """Build the runner a config asks for; wrong names and arguments are a :class:`ConfigError`."""
    with build_errors(config):
        return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def latest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """Return the newest checkpoint of a work dir, also when the dir was moved since; None if there is none."""
    latest = find_latest_checkpoint(str(work_dir))
    if latest and not Path(latest).is_file() and (beside := Path(work_dir, Path(latest).name)).is_file():
        return str(beside)
    return latest
