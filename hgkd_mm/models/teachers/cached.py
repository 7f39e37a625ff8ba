"""What ties a token cache to its teachers and views."""

import os

import numpy as np
import torch

from ...datasets.views import DatasetViews
from ...errors import ConfigError
from ..token_cache import TokenCache
from .group import TeacherGroup


def open_cache(folder: str | os.PathLike, teacher: TeacherGroup, views: DatasetViews) -> TokenCache:
    """Open or begin the cache of these teachers' tokens of these views.

    Raises:
        ConfigError: The tokens depend on the mask, or the pixels of a view are not the same every time.
        DataError: The folder holds tokens of something else.
    """
    for one in teacher.teachers:
        if one.target != 'full':
            raise ConfigError(
                f'cache_dir: the target {one.target!r} depends on the mask, which is drawn anew each time, and cannot '
                "be cached; use target='full', or cache_dir=None"
            )
    views.check_repeatable()
    teachers = [{'sha256': one.sha256, 'fingerprint': one.fingerprint} for one in teacher.teachers]
    source = {'teachers': teachers, **views.facts()}
    return TokenCache(folder, len(views), teacher.token_shapes, source)


def check_one_view(cache: TokenCache, teacher: TeacherGroup, views: DatasetViews) -> None:
    """Compute a cached view again and compare; does nothing to an empty cache.

    Raises:
        DataError: The cache is stale, or damaged there.
    """
    written = np.flatnonzero(cache.index)
    if len(written) == 0:
        return
    row, image = views[int(written[len(written) // 2])]
    cache.check(torch.tensor([row]), teacher(image[None]))
