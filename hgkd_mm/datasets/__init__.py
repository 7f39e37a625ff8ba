"""Data sets and pipeline transforms."""

from .transforms import FixedViews, LoadImageFromFile, RandomPatchMask

__all__ = ['FixedViews', 'LoadImageFromFile', 'RandomPatchMask']
