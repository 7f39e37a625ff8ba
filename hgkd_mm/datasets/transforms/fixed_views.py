"""A fixed set of augmented views per image, so that a teacher's tokens can be cached."""

import numpy as np
from mmcv.transforms import BaseTransform, Compose

from ...registry import TRANSFORMS
from ...seeding import seeded


@TRANSFORMS.register_module()
class FixedViews(BaseTransform):
    """Apply random transforms as if each image had just ``num_views`` possible outcomes.

    Features of a flipped or cropped image are not the flipped or cropped features, so a cached teacher needs
    whole views that come back. Which view is shown is random, unless ``view`` among the results says it; what a view
    looks like depends on ``seed``, the sample and the view alone. Adds ``view_id = sample_idx * num_views + view``.

    Args:
        transforms: Transform configs, applied in order. Masks do not belong here: they may stay fresh.
        num_views: Views per image.
        seed: Seed of the views.
        in_memory: Make every view once and keep it. Every process that loads data keeps its own.
    """

    def __init__(self, transforms: list[dict], num_views: int = 1, seed: int = 0, in_memory: bool = False) -> None:
        self.transforms = transforms
        self.num_views = num_views
        self.seed = seed
        self.in_memory = in_memory
        self.compose = Compose(transforms)
        self.kept: dict[int, dict] = {}

    def transform(self, results: dict) -> dict:
        """Draw a view, apply it, add key ``view_id``."""
        view = results.pop('view', None)
        view = np.random.randint(self.num_views) if view is None else view
        index = results['sample_idx']
        view_id = index * self.num_views + view
        if view_id in self.kept:
            kept = self.kept[view_id]
            return {**kept, 'img': kept['img'].copy()}  # transforms may write into it
        with seeded(self.seed, index, view):
            results = self.compose(results)
        results['view_id'] = view_id
        if self.in_memory:
            self.kept[view_id] = {**results, 'img': results['img'].copy()}
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms}, num_views={self.num_views}, seed={self.seed})'
