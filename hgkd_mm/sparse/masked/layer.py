"""What every layer of the masked backend asks first."""

import math

from torch import Tensor

from ..context import SparseLayer
from ..mask import PatchMask


class MaskedLayer(SparseLayer):
    """A layer over ``(B, C, H, W)`` maps, or ``(B, H, W, C)`` where it says so."""

    def mask_over(self, x: Tensor, channels_last: bool = False) -> PatchMask | None:
        """Return the mask that lies over ``x``; None when dense, or when ``x`` is a globally pooled map or a vector."""
        mask = self.sparse_context.mask
        size = x.shape[1:3] if channels_last else x.shape[2:]
        return mask if mask is not None and x.dim() == 4 and mask.is_map(*size) else None

    def zero_hidden_last(self, x: Tensor) -> Tensor:
        """Zero the hidden positions of ``(B, H, W, C)``, or of a sequence ``(B, H*W, C)`` of square tiles' pixels."""
        mask = self.sparse_context.mask
        if mask is None:
            return x
        _, rows, columns = mask.visible.shape
        if x.dim() == 3 and len(x) == len(mask.visible) and x.shape[1] % (rows * columns) == 0:
            side = math.isqrt(x.shape[1] // (rows * columns))
            if rows * columns * side**2 == x.shape[1]:
                return x * mask.grid(rows * side, columns * side).flatten(1)[..., None]
        return mask.zero_hidden(x, channels_last=True)
