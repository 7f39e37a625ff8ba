"""Sparse forward passes of ordinary CNNs under a patch mask."""

from .convert import make_sparse
from .forward import SparseForward
from .mask import PatchMask

__all__ = ['PatchMask', 'SparseForward', 'make_sparse']
