"""How a network's converted layers learn which mask is in force."""

import contextlib
from collections.abc import Iterator

from .mask import PatchMask


class SparseContext:
    """The mask in force for one network; None means dense.

    Every network has its own context, so two students in one process, or nested calls of one, never
    disturb each other, and a converted network called without a mask is the ordinary dense one.
    """

    def __init__(self) -> None:
        self.mask: PatchMask | None = None

    @contextlib.contextmanager
    def use(self, mask: PatchMask) -> Iterator[None]:
        """Put ``mask`` in force for the body, then restore what was before."""
        before, self.mask = self.mask, mask
        try:
            yield
        finally:
            self.mask = before
