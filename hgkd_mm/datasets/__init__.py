"""Data sets and pipeline transforms."""

from .transforms import FixedViews, RandomPatchMask

__all__ = ['FixedViews', 'RandomPatchMask']
