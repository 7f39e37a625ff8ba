"""How a network's converted layers learn which mask is in force."""

import contextlib
import threading
from collections.abc import Iterator

from torch import nn

from .mask import PatchMask


class SparseContext:
    """The mask in force for one network in one thread; None means dense.

    Every network has its own context, and every thread its own mask, so two students in one process, nested calls
    of one, or several threads that share a network never disturb each other. A network called without a mask is
    the ordinary dense one. A copied or unpickled context has no mask in force.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def mask(self) -> PatchMask | None:
        """The mask in force."""
        return getattr(self._local, 'mask', None)

    @contextlib.contextmanager
    def use(self, mask: PatchMask | None) -> Iterator[None]:
        """Put ``mask`` in force for the body, then restore what was before."""
        before, self._local.mask = self.mask, mask
        try:
            yield
        finally:
            self._local.mask = before

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self._local = threading.local()


class SparseLayer(nn.Module):
    """A converted layer: an ordinary one whose class has become a subclass that asks its network for the mask."""

    sparse_context: SparseContext
