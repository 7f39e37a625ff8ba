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
    """

    def __init__(self, transforms: list[dict], num_views: int = 1, seed: int = 0) -> None:
        self.transforms = transforms
        self.num_views = num_views
        self.seed = seed
        self.compose = Compose(transforms)

    def transform(self, results: dict) -> dict:
        """Draw a view, apply it, add key ``view_id``."""
        view = results.pop('view', None)
        view = np.random.randint(self.num_views) if view is None else view
        index = results['sample_idx']
        with seeded(self.seed, index, view):
            results = self.compose(results)
        results['view_id'] = index * self.num_views + view
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms}, num_views={self.num_views}, seed={self.seed})'
