"""Gradient checkpointing (``with_cp=True``, DenseNet's ``memory_efficient=True``) under a mask."""

from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .context import SparseContext, SparseLayer
from .mask import PatchMask

#: What networks call the setting.
SETTINGS = ('with_cp', 'memory_efficient')


class CheckpointUnderMask(SparseLayer):
    """Mixin: recomputes the module in the backward pass under the mask of its forward pass.

    The network's own checkpointing would recompute under whatever mask is in force by then, or none.
    """

    def forward(self, *args: Any) -> Tensor:
        """Run the module, keeping only its inputs for the backward pass."""
        # DenseNet hands over one list again and again and lets it grow.
        args = tuple(list(arg) if isinstance(arg, list) else arg for arg in args)
        return checkpoint(self._under, self.sparse_context.mask, *args, use_reentrant=False)

    def _under(self, mask: PatchMask | None, *args: Any) -> Tensor:
        with self.sparse_context.use(mask):
            return super().forward(*args)

    def __reduce__(self) -> tuple:
        # The class was made at run time: pickle finds it by the class it was made from.
        return _restore, (type(self).__bases__[1],), self.__dict__


_classes: dict[type[nn.Module], type[nn.Module]] = {}


def take_over_checkpointing(backbone: nn.Module, context: SparseContext) -> None:
    """Checkpoint under a mask what the network checkpoints by itself, in place; no parameter is renamed."""
    checkpointed = {
        path: module
        for path, module in backbone.named_modules()
        if any(getattr(module, setting, False) is True for setting in SETTINGS)
    }
    for path, module in checkpointed.items():
        for setting in SETTINGS:
            if hasattr(module, setting):
                setattr(module, setting, False)
        # A module whose own modules have the setting too only hands it on to them.
        if not any(other.startswith(f'{path}.' if path else '') for other in checkpointed if other != path):
            _take_over(module, context)


def _take_over(module: Any, context: SparseContext) -> None:
    module.sparse_context = context
    module.__class__ = _class_of(type(module))


def _class_of(base: type[nn.Module]) -> type[nn.Module]:
    # One class for one base, so that two copies of a network have the same types.
    if base not in _classes:
        _classes[base] = type(f'Checkpointed{base.__name__}', (CheckpointUnderMask, base), {'__module__': __name__})
    return _classes[base]


def _restore(base: type[nn.Module]) -> nn.Module:
    cls = _class_of(base)
    return cls.__new__(cls)
