"""What a record says about the code, the machine and the recipe that made it."""

import importlib.metadata
import platform
import re
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..utils import sha256_json

PACKAGES = (
    'torch',
    'torchvision',
    'onedl-mmengine',
    'onedl-mmcv',
    'onedl-mmpretrain',
    'onedl-mmdetection',
    'onedl-mmsegmentation',
    'mmengine',  # and by the names of their original releases
    'mmcv',
    'mmpretrain',
    'mmdet',
    'mmsegmentation',
    'numpy',
)

#: Hooks that change what is learned; all others only watch or write.
TRAINING_HOOKS = 'EMA|MaskSchedule'


def environment() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute the results."""
    versions = {'python': platform.python_version(), 'platform': platform.platform(terse=True)}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the upstream name of an OpenMMLab package
            continue
    return versions


def code() -> dict[str, Any]:
    """Return the package's version and, in a checkout, its commit and whether files differ from it."""
    commit = _git('rev-parse', 'HEAD')
    changes = _git('status', '--porcelain', '--untracked-files=no') if commit else None
    return {'version': __version__, 'commit': commit or None, 'modified': None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / '.git').exists():
        return None
    try:
        done = subprocess.run(['git', '-C', str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def cost(seconds: float, images: int | None) -> dict[str, Any]:
    """Return the fields of :class:`~hgkd_mm.leaderboard.record.Cost`.

    Args:
        seconds: Wall time.
        images: That went through training in this time; None when there was none.
    """
    return {
        'wall_time_s': round(seconds, 3),
        'images_per_s': round(images / seconds, 2) if images and seconds else None,
        'peak_memory_mib': _peak_memory_mib(),
        'device': device(),
        'threads': torch.get_num_threads(),
    }


def _peak_memory_mib() -> float:
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


def device() -> str:
    """Name the GPU, or else the CPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return processor()


def processor() -> str:
    """Name the CPU."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'CPU {names[0]}' if names else f'CPU {platform.machine()}'


def backbone_name(backbone: Mapping[str, Any]) -> str:
    """Name a backbone's architecture, e.g. ``'ResNet-18 (width 32)'``.

    Args:
        backbone: ``model.backbone`` of a config.
    """
    name = str(backbone.get('type', 'unknown')).rpartition('.')[2]
    variant = backbone.get('depth') or backbone.get('arch')
    if isinstance(variant, str | int):
        name += f'-{variant}'
    factor = backbone.get('widen_factor', 1)
    if factor != 1:
        name += f' (width x{factor:g})'
    width = backbone.get('base_channels')
    if width and width != 64:  # 64 is the published width
        name += f' (width {width})'
    return name


def model_sha256(cfg: Mapping[str, Any]) -> str:
    """Hash a network without what differs between the ways to start it: first weights and normalisation."""
    model = {
        key: value for key, value in (cfg.get('model') or {}).items() if key not in ('data_preprocessor', 'pretrained')
    }
    if isinstance(model.get('backbone'), Mapping):
        model['backbone'] = {key: value for key, value in model['backbone'].items() if key != 'init_cfg'}
    return sha256_json(_without_seeds(model))


def protocol_sha256(cfg: Mapping[str, Any]) -> str:
    """Hash how a network is trained and evaluated: optimizer, schedules, pipelines, batch size, moving averages.

    Left out is what :class:`~hgkd_mm.leaderboard.record.Protocol` says by itself (epochs, precision), where the data
    lies, seeds, and what only watches or writes.
    """
    loaders = [cfg.get(name) or {} for name in ('train_dataloader', 'val_dataloader')]
    wrapper = {
        key: value for key, value in (cfg.get('optim_wrapper') or {}).items() if key not in ('type', 'loss_scale')
    }
    content = {
        'optim_wrapper': wrapper,
        'param_scheduler': cfg.get('param_scheduler'),
        'pipelines': [_find(loader.get('dataset') or {}, 'pipeline') for loader in loaders],
        'batch_size': loaders[0].get('batch_size'),
        'hooks': [hook for hook in cfg.get('custom_hooks') or [] if re.search(TRAINING_HOOKS, str(hook.get('type')))],
    }
    return sha256_json(_without_seeds(content))


def pretraining_sha256(cfg: Mapping[str, Any]) -> str:
    """Hash what makes a pretraining recipe: model, protocol and teacher, without places and seeds."""
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, Mapping) and 'teacher' in hook]
    teachers = [hook['teacher'] for hook in hooks]
    teachers = [one for teacher in teachers for one in (teacher if isinstance(teacher, list | tuple) else [teacher])]
    which = ('weights', 'sha256')  # the file, which a record names by itself
    teachers = [{key: value for key, value in teacher.items() if key not in which} for teacher in teachers]
    recipe = [_without_seeds(cfg.get('model') or {}), protocol_sha256(cfg), teachers]
    shuffled = any(hook.get('shuffle_targets') for hook in hooks)
    return sha256_json([*recipe, 'targets shuffled'] if shuffled else recipe)  # else as before there was this control


def _find(node: Any, key: str) -> Any:
    """Return the first value named ``key``, looking into wrapped data sets."""
    while isinstance(node, Mapping) and key not in node and 'dataset' in node:
        node = node['dataset']
    return node.get(key) if isinstance(node, Mapping) else None


def _without_seeds(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _without_seeds(value) for key, value in node.items() if key != 'seed'}
    return [_without_seeds(value) for value in node] if isinstance(node, list | tuple) else node
