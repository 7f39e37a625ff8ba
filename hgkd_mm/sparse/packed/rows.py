"""Packed maps as rows, and the halos of tiles read from their visible neighbours."""

import torch
from torch import Tensor

from ..mask import PatchMask


def to_rows(packed: Tensor) -> Tensor:
    """``(V, C, P, P)`` -> ``(V*P*P, C)``; a view when the memory is channels-last."""
    return packed.permute(0, 2, 3, 1).reshape(-1, packed.shape[1])


def from_rows(rows: Tensor, side: int) -> Tensor:
    """``(V*P*P, C)`` -> ``(V, C, P, P)``, channels last in memory."""
    return rows.view(-1, side, side, rows.shape[1]).permute(0, 3, 1, 2)


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


def with_halo(packed: Tensor, mask: PatchMask, before: int, after: int, fill: float = 0.0) -> Tensor:
    """Surround each tile by its neighbours' pixels.

    Args:
        packed: ``(V, C, P, P)``.
        mask: The mask that numbered the tiles.
        before: Pixels to add on the left and on top; negative values crop.
        after: Pixels to add on the right and below; negative values crop.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(V, C, before+P+after, before+P+after)``.
    """
    side = packed.shape[-1]
    window = mask.window_rows(side, range(-before, side + after))
    return gather_rows(to_rows(packed), window, fill).permute(0, 3, 1, 2)
