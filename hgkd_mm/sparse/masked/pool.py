"""Pooling that does not see hidden positions."""

import torch
from torch import Tensor, nn

from ..context import SparseLayer


class MaskedMaxPool2d(SparseLayer, nn.MaxPool2d):
    """``MaxPool2d`` in which hidden positions, like those off the image, are never the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        out = super().forward(x.masked_fill(~mask.grid(*x.shape[-2:]), -torch.inf))
        return out.masked_fill(~mask.grid(*out.shape[-2:]), 0)


class MaskedGlobalAvgPool2d(SparseLayer, nn.AdaptiveAvgPool2d):
    """``AdaptiveAvgPool2d(1)``: the mean over the visible positions of each image."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, 1, 1)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        share = mask.visible.to(x.dtype).mean((1, 2))
        return mask.zero_hidden(x).mean((2, 3), keepdim=True) / share[:, None, None, None]
