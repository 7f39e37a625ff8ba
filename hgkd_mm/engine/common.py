"""What training and testing share: options, device-dependent defaults, building of the runner."""

import argparse
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from ..compat import FUSED_ON_CPUS
from ..datasets.transforms import load_image
from ..errors import ConfigError, HGKDError, ProcessError, StorageError
from .config import add_cfg_options
from .runner import STORAGE_ERRORS, SafeRunner

#: Seconds that a process without the others stays, so that the launcher finds and names the one that was first to go.
_LAUNCHERS_TURN = 3
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options which ``tools/train.py`` and ``tools/test.py`` have in common."""
    parser.add_argument('config', help='config file: classification, detection, segmentation or pretraining')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and results; default: work_dirs/CONFIG')
    add_cfg_options(parser)
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
        fit_to_cpus(cfg)
    if cfg.launcher != 'none':
        _distribute(cfg)
    for name in _LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        if cfg.get('default_scope') == 'mmpretrain':
            # mmpretrain's own entry script does this: its preprocessors take stacked images
            loader.setdefault('collate_fn', dict(type='default_collate'))
        # without workers, pinning only takes the training's own time
        loader.setdefault('pin_memory', torch.cuda.is_available() and loader.get('num_workers', 0) > 0)
        # PyTorch refuses persistent workers when there are none
        loader.persistent_workers = loader.get('num_workers', 0) > 0


def fit_to_cpus(cfg: Config) -> None:
    """Replace what mmengine and torch have for GPUs only."""
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper':  # --amp gives bfloat16 on CPUs
        wrapper['type'] = 'OptimWrapper'
        wrapper.pop('loss_scale', None)
    if not FUSED_ON_CPUS:
        (wrapper.get('optimizer') or {}).pop('fused', None)


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


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _lost_worker(error: Exception) -> str | None:
    """Return what an error says of a data loading process that is gone; None when it is about something else."""
    # torch raises this wherever the main thread is just then, so something may have wrapped it
    told = next((str(e) for e in _chain(error) if 'DataLoader worker' in str(e)), None)
    if told is not None:
        return told.strip().splitlines()[0]
    # gone while torch's loader was taking a batch from it, so by any name; what a data set raises comes out elsewhere
    frames = (frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__))
    return f'{type(error).__name__}: {error}.'.splitlines()[0] if '_try_get_data' in frames else None


def _hear_of_no_other_worker() -> None:
    """Take torch's handler away: it raises again when the next one ends, in the middle of what is said of the first."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextmanager
def run_errors(work_dir: str) -> Iterator[None]:
    """Turn what a full disk or a lost process does to a run into typed errors that say how to go on."""
    try:
        yield
    except HGKDError:
        raise
    except Exception as error:
        worker = _lost_worker(error)
        if worker is not None:
            _hear_of_no_other_worker()
            raise ProcessError(
                f'{work_dir}: a process that loads data is gone: {worker} Often the memory was '
                'full: use a smaller num_workers or batch_size, then go on with --resume'
            ) from error
        if isinstance(error, OSError) and not isinstance(error, ConnectionError) and error.errno in STORAGE_ERRORS:
            message = f'{work_dir}: cannot be written: {error}. Make room, then go on with --resume'
            raise StorageError(message) from error
        if not isinstance(error, RuntimeError):
            raise
        text = str(error).strip().splitlines()[0] if str(error).strip() else ''
        if get_world_size() > 1 and re.search(r'[Cc]onnection|NCCL|gloo|[Tt]imed out|ncclRemoteError', str(error)):
            time.sleep(_LAUNCHERS_TURN)
            raise ProcessError(
                f'{work_dir}: rank {get_rank()} lost another process of the run, which the launcher names: {text}. '
                'Go on with --resume'
            ) from error
        raise


def build_runner(cfg: Config, config: str) -> Runner:
    """Build the runner a config asks for, else a :class:`SafeRunner`; wrong names are a :class:`ConfigError`."""
    load_image.install()
    with build_errors(config):
        return RUNNERS.build(cfg) if 'runner_type' in cfg else SafeRunner.from_cfg(cfg)
