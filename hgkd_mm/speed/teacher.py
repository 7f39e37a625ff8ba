"""What a batch of teacher tokens costs: of whole images, of visible patches alone, from a cache."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from ..models.token_cache import TokenCache
from ..registry import MODELS
from .encoder import Setting, random_visible, use_threads
from .rounds import median_seconds

#: ViT-B/16 with random weights, for they do not matter to the time.
_TEACHER = dict(type='ViTTeacher', backbone=dict(type='VisionTransformer', arch='base', img_size=224), layer=12)


def measure_teacher(setting: Setting, rounds: int = 3) -> list[dict]:
    """Time the ways to a batch's tokens, taking turns. Images are in memory, the cache is on the disk.

    Args:
        setting: Batch, size, visible patches, precision and threads.
        rounds: Rounds after one to warm up.

    Returns:
        One row a way: ``source``, ``batch_ms`` and ``relative``, the time over that of whole images.

    Raises:
        ConfigError: A value of the setting cannot be.
    """
    setting.check()
    options = dict(_TEACHER, img_size=setting.img_size, amp_dtype='bfloat16' if setting.amp else None)
    full: Any = MODELS.build(options)
    visible: Any = MODELS.build(dict(options, target='visible'))
    shape = (setting.batch_size, 3, setting.img_size, setting.img_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask, views = random_visible(setting), torch.arange(setting.batch_size)
    with use_threads(setting.threads), tempfile.TemporaryDirectory() as folder:
        cache = TokenCache(Path(folder), len(views), full.token_shapes, source={})
        cache.write(views, [full(images)])
        ways = {
            "target='full'": lambda: full(images),
            "target='visible'": lambda: visible(images, mask),
            'cache': lambda: cache.read(views),
        }
        seconds = median_seconds(ways, rounds)
    whole = next(iter(seconds.values()))
    return [dict(source=name, batch_ms=1e3 * time, relative=time / whole) for name, time in seconds.items()]
