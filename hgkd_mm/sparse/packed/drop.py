"""Stochastic depth over packed tiles."""

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor

from ..context import SparseLayer


class PackedDropPath(SparseLayer, DropPath):
    """mmcv's ``DropPath``: drops an image, not a tile; draws what the dense layer would draw."""

    drop_prob: float

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, ...)`` to the same shape."""
        mask = self.sparse_context.mask
        if mask is None or self.drop_prob == 0 or not self.training:
            return super().forward(x)
        keep = 1 - self.drop_prob
        kept = (keep + torch.rand(len(mask.visible), dtype=x.dtype, device=x.device)).floor()
        return x.div(keep) * kept[mask.image].view(-1, *[1] * (x.dim() - 1))
