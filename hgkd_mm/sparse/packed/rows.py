"""Packed maps as rows, and the halos of tiles read from their visible neighbours."""

import torch
from torch import Tensor

from ..geometry import Axes
from ..mask import PatchMask


def to_rows(packed: Tensor) -> Tensor:
    """``(V, C, P, Q)`` -> ``(V*P*Q, C)``; a view when the memory is channels-last."""
    return packed.permute(0, 2, 3, 1).reshape(-1, packed.shape[1])


def from_rows(rows: Tensor, height: int, width: int) -> Tensor:
    """``(V*P*Q, C)`` -> ``(V, C, P, Q)``, channels last in memory."""
    return rows.view(-1, height, width, rows.shape[1]).permute(0, 3, 1, 2)


def gather_rows(rows: Tensor, table: Tensor, fill: float = 0.0) -> Tensor:
    """Select rows; number ``len(rows)`` gives ``fill``.

    Args:
        rows: ``(N, C)``.
        table: Row numbers of any shape.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(*table.shape, C)``.
    """
    extended = torch.cat([rows, rows.new_full((1, rows.shape[1]), fill)])
    return extended.index_select(0, table.flatten()).view(*table.shape, rows.shape[1])


def with_halo(packed: Tensor, mask: PatchMask, axes: Axes, fill: float = 0.0) -> Tensor:
    """Surround each tile by its neighbours' pixels, as far as a layer reads.

    Args:
        packed: ``(V, C, P, Q)``.
        mask: The mask that numbered the tiles.
        axes: Geometry of the layer. Where it stops short of the tile's end, the tile is cropped.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(V, C, above+P+below, left+Q+right)``.

    Raises:
        MaskError: The tile is not a whole number of strides.
    """
    height, width = packed.shape[-2:]
    (above, below), (left, right) = (axis.halo(side) for axis, side in zip(axes, (height, width), strict=True))
    if above == left == 0 and below <= 0 and right <= 0:
        return packed[..., : height + below, : width + right]
    window = mask.window_rows(height, width, range(-above, height + below), range(-left, width + right))
    return gather_rows(to_rows(packed), window, fill).permute(0, 3, 1, 2)
