"""Computes the teacher's tokens of all views once: the logic of ``tools/cache_teacher.py``."""

import argparse
import re
import time
from collections.abc import Iterator, Sequence

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader, Subset

from ..datasets.views import DatasetViews
from ..errors import ConfigError
from ..models.teachers.cached import check_one_view, open_cache
from ..models.teachers.group import TeacherGroup
from ..models.token_cache import TokenCache
from .config import add_cfg_options, check_data, load_config

#: Seconds between lines of progress, which are also when everything is brought to the disk.
_INTERVAL = 10.0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line of ``tools/cache_teacher.py``."""
    parser = argparse.ArgumentParser(
        description="Write the teacher's tokens of every fixed view to the folder that the config names. "
        'Run it again to go on after an interruption. Give the same --cfg-options as for training, e.g. '
        'token_cache=data/tokens num_views=4.'
    )
    parser.add_argument('config', help='pretraining config with a TeacherHook')
    add_cfg_options(parser)
    parser.add_argument('--batch-size', type=int, default=64, help='images at a time (default: 64)')
    parser.add_argument('--device', help='default: cuda if there is one, else cpu')
    parser.add_argument(
        '--part',
        default='1/1',
        metavar='K/N',
        help='compute only every Nth view, from the Kth on: for N processes on one machine, one a GPU',
    )
    parser.add_argument('--verify', action='store_true', help='read all that is there, write damaged rows anew')
    return parser.parse_args(argv)


def cache_teacher(argv: Sequence[str] | None = None) -> None:
    """Fill a token cache as the command line says.

    Args:
        argv: Arguments; None takes the process's.

    Raises:
        ConfigError: The config has no teacher, names no folder, or its views do not come back.
        DataError: The folder holds tokens of something else, is stale, or the disk is too small.
    """
    args = parse_args(argv)
    part, parts = _part(args.part)
    cfg = load_config(args.config, args.cfg_options)
    hook = find_teacher_hook(cfg, args.config)
    check_data(cfg, ('train_dataloader',))
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    dataset.full_init()
    views = DatasetViews(dataset)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    teacher = TeacherGroup(hook['teacher']).to(device)
    cache = open_cache(hook['cache_dir'], teacher, views)
    if args.verify:
        damaged = cache.forget_damaged()
        print(f'{cache.folder}: {", ".join(damaged) or "nothing"} damaged')
    check_one_view(cache, teacher, views)
    mine = torch.arange(part, len(views), parts)
    todo = mine[cache.missing(mine)].tolist()
    print(
        f'{cache.folder}: {len(views)} views ({len(dataset)} images, {views.num_views} each), '
        f'{len(mine) - len(todo)} of {len(mine)} are there; {len(views) * cache.row_bytes / 1e9:.2f} GB in all',
        flush=True,
    )
    cache.check_space()
    loader: DataLoader = DataLoader(
        Subset(views, todo),  # type: ignore[arg-type]
        batch_size=args.batch_size,
        num_workers=cfg.train_dataloader.get('num_workers', 0),
        pin_memory=device.startswith('cuda'),
    )
    fill(cache, teacher, loader, len(todo))
    print(f'{cache.folder}: complete ({cache.num_written} of {len(views)} views)' if parts == 1 else 'part complete')


def fill(cache: TokenCache, teacher: TeacherGroup, loader: DataLoader, total: int) -> None:
    """Compute and write the views that ``loader`` gives as ``(rows (B,), images (B, 3, H, W))``, showing progress."""
    start = shown = time.monotonic()
    done = 0
    try:
        for rows, images in loader:
            cache.write(rows, teacher(images))
            done += len(rows)
            if (now := time.monotonic()) - shown > _INTERVAL:
                cache.flush()
                shown, rate = now, done / (now - start)
                print(f'{done}/{total} views, {rate:.1f}/s, {(total - done) / rate / 60:.1f} min left', flush=True)
    finally:
        cache.flush()


def find_teacher_hook(cfg: Config, config: str) -> dict:
    """Return the config of the TeacherHook.

    Raises:
        ConfigError: There is none, or it names no folder for the cache.
    """
    hooks = list(_teacher_hooks(cfg))
    if len(hooks) != 1:
        raise ConfigError(f'{config}: expected one TeacherHook in custom_hooks, found {len(hooks)}')
    if not hooks[0].get('cache_dir'):
        raise ConfigError(
            f'{config}: its TeacherHook has no cache_dir. Name the folder by --cfg-options token_cache=DIR, '
            'and train with the same option'
        )
    return hooks[0]


def _teacher_hooks(cfg: Config) -> Iterator[dict]:
    for hook in cfg.get('custom_hooks') or []:
        if str(hook.get('type', '')).split('.')[-1] == 'TeacherHook':
            yield hook


def _part(text: str) -> tuple[int, int]:
    """Turn 'K/N' into ``(K - 1, N)``."""
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(f'--part {text}: expected K/N with K from 1 to N')
    return number - 1, count
