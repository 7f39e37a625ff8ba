"""The proof of a conversion: a small random case, packed against masked."""

import functools
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import HGKDError, UnsupportedLayerError
from .context import SparseLayer
from .forward import SparseForward
from .mask import PatchMask
from .packed.conv import PackedConv

TOLERANCE = 1e-8


@torch.no_grad()
def prove(packed: SparseForward, masked: SparseForward, patch_size: int) -> list[str]:
    """See that two conversions of one network agree; the packed one never gets to see a hidden pixel.

    What a network's own code does to its maps (a mean over all positions, an interpolation) is invisible to a walk
    over its layers; here it shows. Runs in float64 whatever autocast is in force, with the statistics of the batch in
    batch norms and everything else in evaluation mode; random numbers drawn elsewhere stay as they were.

    Args:
        packed: A conversion of a copy; used up by this.
        masked: A conversion of another copy; used up by this.
        patch_size: Side of a patch in pixels.

    Returns:
        Paths of the convolutions whose tiles are so small that they use the rulebook.

    Raises:
        UnsupportedLayerError: They differ, or one fails; names the first module where it shows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for one, other in zip(packed.backbone.parameters(), masked.backbone.parameters(), strict=True):
            # Biases and scales at their initial values, zeros and ones, would hide a leak.
            noise = 0.1 * torch.randn(one.shape) if one.dim() < 2 else 0.0
            for parameter in (one, other):
                parameter.data = (parameter.data.cpu() + noise).double()
        images = torch.randn(2, 3, 2 * patch_size, 2 * patch_size, dtype=torch.float64)
    for forward in (packed, masked):
        forward.backbone.cpu().double().eval()
        for layer in forward.backbone.modules():
            if isinstance(layer, nn.BatchNorm2d):  # its statistics depend on what it sees
                layer.training = True
    visible = torch.tensor([[[1, 1], [0, 1]], [[0, 1], [0, 0]]], dtype=torch.bool)
    mask = PatchMask(visible, patch_size)
    with torch.autocast('cpu', enabled=False):
        ours, theirs = _Run(packed, images, mask), _Run(masked, images, mask)
    for event, expected in theirs.maps.items():
        found = ours.maps.get(event)
        # In another layout, such as channels last, it is compared further on.
        if found is not None and found.shape == expected.shape and not _close(found, expected):
            raise _differs(masked.backbone, event.culprit)
    for found, expected in zip(ours.stages, theirs.stages, strict=True):
        if found.shape != expected.shape or not _close(found, expected):
            raise _differs(masked.backbone, '')
    return sorted(ours.by_rulebook)


def _differs(backbone: nn.Module, path: str) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f'{_name(backbone, path)} does something to its maps that has no exact sparse form, such as a mean over all '
        'positions: packed and masked results differ'
    )


def _name(backbone: nn.Module, path: str) -> str:
    kind: type = type(backbone.get_submodule(path))
    if issubclass(kind, SparseLayer):  # as the user knows it
        kind = next(base for base in kind.__mro__ if not issubclass(base, SparseLayer))
    return f"module '{path}' ({kind.__name__})" if path else f'the network itself ({kind.__name__})'


class Event(NamedTuple):
    """A map that enters or leaves a module.

    Attributes:
        path: The module.
        kind: ``'in'`` or ``'out'``.
        culprit: Whose code is at fault if it is wrong: the module for what leaves it, the caller for what enters.
    """

    path: str
    kind: str
    culprit: str


class _Run:
    """Runs a conversion.

    Attributes:
        stages: The outputs of the network.
        maps: What enters and leaves each module, in order of time, on the grid and zero where hidden.
        by_rulebook: Paths of the convolutions that used the rulebook.
    """

    def __init__(self, forward: SparseForward, images: Tensor, mask: PatchMask) -> None:
        self.maps: dict[Event, Tensor] = {}
        self.by_rulebook: set[str] = set()
        self.masked = forward.backend == 'masked'
        self.mask = mask
        self.running = ['']
        with ExitStack() as stack:
            for path, module in forward.backbone.named_modules():
                if path:
                    enter, leave = functools.partial(self._enter, path), functools.partial(self._leave, path)
                    stack.callback(module.register_forward_pre_hook(enter).remove)
                    stack.callback(module.register_forward_hook(leave).remove)
            try:
                self.stages = forward(images, mask)
            except HGKDError:
                raise
            except Exception as error:
                raise UnsupportedLayerError(
                    f'{_name(forward.backbone, self.running[-1])} fails under a mask, {forward.backend} backend: '
                    f'{type(error).__name__}: {error}'
                ) from error

    def _enter(self, path: str, module: nn.Module, inputs: tuple) -> None:
        self._note(Event(path, 'in', self.running[-1]), inputs[0] if inputs else None)
        if isinstance(module, PackedConv) and module.uses_rulebook(*inputs[0].shape[-2:]):
            self.by_rulebook.add(path)
        self.running.append(path)

    def _leave(self, path: str, module: nn.Module, inputs: tuple, out: Any) -> None:
        self.running.pop()
        self._note(Event(path, 'out', path), out)

    def _note(self, event: Event, x: Any) -> None:
        _, rows, columns = self.mask.visible.shape
        if not isinstance(x, Tensor) or x.dim() != 4 or not self.mask.is_map(*x.shape[-2:]):
            return
        if self.masked:
            if len(x) == len(self.mask.visible) and x.shape[2] % rows == x.shape[3] % columns == 0:
                self.maps[event] = self.mask.zero_hidden(x)
        elif len(x) == self.mask.num_visible:
            self.maps[event] = self.mask.unpack(x)


def _close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= TOLERANCE * (1 + expected.abs().max()))
