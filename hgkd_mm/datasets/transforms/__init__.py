"""Pipeline transforms for pretraining."""

from .fixed_views import FixedViews
from .load_image import LoadImageFromFile
from .random_patch_mask import RandomPatchMask, random_patch_mask

__all__ = ['FixedViews', 'LoadImageFromFile', 'RandomPatchMask', 'random_patch_mask']
