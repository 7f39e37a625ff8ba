"""Pipeline transforms for pretraining."""

from .fixed_views import FixedViews
from .random_patch_mask import RandomPatchMask, random_patch_mask

__all__ = ['FixedViews', 'RandomPatchMask', 'random_patch_mask']
