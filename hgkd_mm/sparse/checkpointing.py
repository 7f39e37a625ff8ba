"""Gradient checkpointing (``with_cp=True``) under a mask."""

import functools
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .context import SparseContext, SparseLayer
from .mask import PatchMask


class CheckpointUnderMask(SparseLayer):
    """Mixin: recomputes the module in the backward pass under the mask of its forward pass.

    The network's own checkpointing would recompute under whatever mask is in force by then, or none.
    """

    def forward(self, *args: Any) -> Tensor:
        """Run the module, keeping only its inputs for the backward pass."""
        return checkpoint(self._under, self.sparse_context.mask, *args, use_reentrant=False)

    def _under(self, mask: PatchMask | None, *args: Any) -> Tensor:
        with self.sparse_context.use(mask):
            return super().forward(*args)

    def __reduce__(self) -> tuple:
        # The class was made at run time: pickle finds it by the class it was made from.
        return _restore, (type(self).__bases__[1],), self.__dict__


def checkpoint_under_mask(module: nn.Module, context: SparseContext) -> None:
    """Take over a module's gradient checkpointing, in place; no parameter is renamed."""
    module.with_cp = False
    module.sparse_context = context
    module.__class__ = _class_of(type(module))


@functools.cache
def _class_of(base: type[nn.Module]) -> type[nn.Module]:
    return type(f'Checkpointed{base.__name__}', (CheckpointUnderMask, base), {'__module__': __name__})


def _restore(base: type[nn.Module]) -> nn.Module:
    cls = _class_of(base)
    return cls.__new__(cls)
