"""Packed maps as rows, and the halos of tiles read from their visible neighbours."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..geometry import Axes
from ..mask import PatchMask


def to_rows(packed: Tensor) -> Tensor:
    """``(V, C, P, Q)`` -> ``(V*P*Q, C)``; a view when the memory is channels-last."""
    return packed.permute(0, 2, 3, 1).reshape(-1, packed.shape[1])


def from_rows(rows: Tensor, height: int, width: int) -> Tensor:
    """``(V*P*Q, C)`` -> ``(V, C, P, Q)``, channels last in memory."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)


def read_halo(packed: Tensor, mask: PatchMask, axes: Axes, fill: float = 0.0) -> Tensor:
    """Surround each tile by its neighbours' pixels, as far as a layer reads; not differentiable.

    Args:
        packed: ``(V, C, P, Q)``.
        mask: The mask that numbered the tiles.
        axes: Geometry of the layer. Where it stops short of the tile's end, the tile is cropped.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(V, C, above+P+below, left+Q+right)``, channels last in memory.

    Raises:
        MaskError: The tile is not a whole number of strides.
    """
    height, width = packed.shape[-2:]
    rows = mask.halo(height, width, axes).of(to_rows(packed))
    if fill:
        rows.index_fill_(0, mask.halo_gaps(height, width, axes), fill)
    return from_rows(rows, *(side + sum(axis.halo(side)) for axis, side in zip(axes, (height, width), strict=True)))


def return_halo(grad: Tensor, mask: PatchMask, axes: Axes, height: int, width: int) -> Tensor:
    """Add the gradients of halos up in the tiles their pixels came from: the adjoint of :func:`read_halo`.

    Args:
        grad: ``(V, C, above+P+below, left+Q+right)``.
        mask: The mask that numbered the tiles.
        axes: Geometry of the layer.
        height: Tile height P.
        width: Tile width Q.

    Returns:
        ``(V, C, P, Q)``. The order of the sums is fixed.
    """
    return from_rows(mask.halo_adjoint(height, width, axes).of(to_rows(grad)), height, width)


class _Halo(torch.autograd.Function):
    @staticmethod
    def forward(ctx, packed: Tensor, mask: PatchMask, axes: Axes, fill: float) -> Tensor:
        ctx.geometry = mask, axes, *packed.shape[-2:]
        return read_halo(packed, mask, axes, fill)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return return_halo(grad, *ctx.geometry), None, None, None


def with_halo(packed: Tensor, mask: PatchMask, axes: Axes, fill: float = 0.0) -> Tensor:
    """Do what :func:`read_halo` does, differentiably; a layer that reads no neighbour gets a view."""
    (above, below), (left, right) = (axis.halo(side) for axis, side in zip(axes, packed.shape[-2:], strict=True))
    if above == left == 0 and below <= 0 and right <= 0:
        return packed[..., : packed.shape[-2] + below, : packed.shape[-1] + right]
    return _Halo.apply(packed, mask, axes, fill)
