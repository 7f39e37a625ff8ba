"""Sparse forward passes of ordinary CNNs under a patch mask."""

from .convert import SparseForward, make_sparse
from .mask import PatchMask

__all__ = ['PatchMask', 'SparseForward', 'make_sparse']
