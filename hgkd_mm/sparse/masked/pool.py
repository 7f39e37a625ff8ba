"""Pooling that does not see hidden positions."""

import torch
from torch import Tensor, nn

from ..precision import at_least_float32
from .layer import MaskedLayer


class MaskedMaxPool2d(MaskedLayer, nn.MaxPool2d):
    """``MaxPool2d`` in which hidden positions, like those off the image, are never the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        mask = self.mask_over(x)
        if mask is None:
            return super().forward(x)
        out = super().forward(x.masked_fill(~mask.grid(*x.shape[-2:]), -torch.inf))
        return out.masked_fill(~mask.grid(*out.shape[-2:]), 0)


class MaskedGlobalAvgPool2d(MaskedLayer, nn.AdaptiveAvgPool2d):
    """``AdaptiveAvgPool2d(1)``: the mean over the visible positions of each image."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, 1, 1)``."""
        mask = self.mask_over(x)
        if mask is None:
            return super().forward(x)
        wide = at_least_float32(mask.zero_hidden(x))
        share = mask.visible.to(wide.dtype).mean((1, 2)).view(-1, 1, 1, 1)
        return (super().forward(wide) / share).to(x.dtype)
