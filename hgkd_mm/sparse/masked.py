"""The ``masked`` backend: compute densely, then mask. The reference the others are tested against.

Maps stay ``(B, C, H, W)`` and are zero at hidden positions after every layer, as in SparK (arXiv 2301.03580).
"""

import torch
from torch import Tensor, nn

from .context import SparseContext


class MaskedConv2d(nn.Conv2d):
    """A convolution whose output is zeroed at hidden positions."""

    sparse_context: SparseContext

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H', W')``."""
        out = super().forward(x)
        mask = self.sparse_context.mask
        return out if mask is None else out * mask.grid(*out.shape[-2:])


class MaskedMaxPool2d(nn.MaxPool2d):
    """A max-pooling in which hidden positions, like those off the image, are never the maximum."""

    sparse_context: SparseContext

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C, H', W')``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        out = super().forward(x.masked_fill(~mask.grid(*x.shape[-2:]), -torch.inf))
        return out.masked_fill(~mask.grid(*out.shape[-2:]), 0)


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """A batch normalisation over the visible positions of the batch alone."""

    sparse_context: SparseContext

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        where = mask.grid(*x.shape[-2:])[:, 0]
        last = x.permute(0, 2, 3, 1)
        normalised = super().forward(last[where][:, :, None, None])[:, :, 0, 0]
        return torch.zeros_like(last).index_put((where,), normalised).permute(0, 3, 1, 2)
