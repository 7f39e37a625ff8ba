"""Normalisation over visible positions alone."""

import torch
from mmpretrain.models.backbones.hornet import HorNetLayerNorm
from mmpretrain.models.utils.norm import GRN, LayerNorm2d
from torch import Tensor, nn

from .layer import MaskedLayer


class MaskedBatchNorm(MaskedLayer):
    """Mixin: batch normalisation over the visible positions of the batch alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        mask = self.mask_over(x)
        if mask is None:
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


class MaskedGroupNorm(MaskedLayer, nn.GroupNorm):
    """``GroupNorm`` with the statistics of a group's channels over the visible positions of an image."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        mask = self.mask_over(x)
        if mask is None:
            return super().forward(x)
        out = torch.zeros_like(x)
        for image, where in enumerate(mask.grid(*x.shape[-2:])[:, 0]):
            # torch's own, since the layer refuses a group of a single value: one channel of one visible pixel
            values = torch.group_norm(x[image][:, where][None], self.num_groups, self.weight, self.bias, self.eps)
            out[image, :, where] = values[0].to(out.dtype)
        return out


class MaskedLayerNorm(MaskedLayer, nn.LayerNorm):
    """``LayerNorm`` over the channels, masked: its bias is not zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` or ``(B, H*W, C)`` to the same shape."""
        return self.zero_hidden_last(super().forward(x))


class MaskedLayerNorm2d(MaskedLayer, LayerNorm2d):
    """mmpretrain's ``LayerNorm2d``, masked: its bias is not zero."""

    def forward(self, x: Tensor, data_format: str = 'channel_first') -> Tensor:
        """Map ``(B, C, H, W)``, or ``(B, H, W, C)`` with ``data_format='channel_last'``, to the same shape."""
        last = data_format == 'channel_last'
        mask = self.mask_over(x, last)
        out = super().forward(x, data_format)
        return out if mask is None else mask.zero_hidden(out, last)


class MaskedHorNetLayerNorm(MaskedLayer, HorNetLayerNorm):
    """mmpretrain's ``HorNetLayerNorm``, masked: its bias is not zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``, or ``(B, H, W, C)`` where the layer is built so, to the same shape."""
        last = self.data_format == 'channels_last'
        mask = self.mask_over(x, last)
        out = super().forward(x)
        return out if mask is None else mask.zero_hidden(out, last)


class MaskedGRN(MaskedLayer, GRN):
    """mmpretrain's ``GRN``: norms see zeros at hidden positions; its bias is masked."""

    def forward(self, x: Tensor, data_format: str = 'channel_first') -> Tensor:
        """Map ``(B, C, H, W)``, or ``(B, H, W, C)`` with ``data_format='channel_last'``, to the same shape."""
        last = data_format == 'channel_last'
        mask = self.mask_over(x, last)
        if mask is None:
            return super().forward(x, data_format)
        # An activation before it may have left something at hidden positions.
        return mask.zero_hidden(super().forward(mask.zero_hidden(x, last), data_format), last)
