"""Normalisation over visible positions alone."""

import torch
from mmpretrain.models.utils.norm import GRN
from torch import Tensor, nn

from ..context import SparseLayer


class MaskedBatchNorm(SparseLayer):
    """Mixin: batch normalisation over the visible positions of the batch alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        mask = self.sparse_context.mask
        if mask is None or not mask.is_map(*x.shape[-2:]):
            return super().forward(x)
        where = mask.grid(*x.shape[-2:])[:, 0]
        last = x.permute(0, 2, 3, 1)
        normalised = super().forward(last[where][:, :, None, None])[:, :, 0, 0]
        out = torch.zeros_like(last, dtype=normalised.dtype)
        return out.index_put((where,), normalised).permute(0, 3, 1, 2)


class MaskedBatchNorm2d(MaskedBatchNorm, nn.BatchNorm2d):
    """``BatchNorm2d``, masked."""


class MaskedSyncBatchNorm(MaskedBatchNorm, nn.SyncBatchNorm):
    """``SyncBatchNorm``, masked."""


class MaskedGroupNorm(SparseLayer, nn.GroupNorm):
    """``GroupNorm`` with the statistics of a group's channels over the visible positions of an image."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        out = torch.zeros_like(x)
        for image, where in enumerate(mask.grid(*x.shape[-2:])[:, 0]):
            visible = super().forward(x[image][:, where][None])
            out[image, :, where] = visible[0].to(out.dtype)
        return out


class MaskedGRN(SparseLayer, GRN):
    """mmpretrain's ``GRN``: norms see zeros at hidden positions; its bias is masked."""

    def forward(self, x: Tensor, data_format: str = 'channel_first') -> Tensor:
        """Map ``(B, C, H, W)``, or ``(B, H, W, C)`` with ``data_format='channel_last'``, to the same shape."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x, data_format)
        last = data_format == 'channel_last'
        # An activation before it may have left something at hidden positions.
        return mask.zero_hidden(super().forward(mask.zero_hidden(x, last), data_format), last)
