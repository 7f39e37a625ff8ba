"""Layers that run densely and whose output is then zeroed at hidden positions."""

from mmcv.cnn.bricks import Conv2dAdaptivePadding, HSigmoid
from mmpretrain.models.utils.norm import LayerNorm2d
from torch import Tensor, nn

from ..context import SparseLayer


class MaskedOutput(SparseLayer):
    """Mixin: the ordinary layer, then the mask. A globally pooled 1x1 map is no map and stays as it is."""

    channels_last = False

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H', W')``; channels last where the layer has them last."""
        out = super().forward(x)
        mask = self.sparse_context.mask
        return out if mask is None else mask.zero_hidden(out, self.channels_last)


class MaskedConv2d(MaskedOutput, nn.Conv2d):
    """``Conv2d``, masked."""


class MaskedConv2dAdaptivePadding(MaskedOutput, Conv2dAdaptivePadding):
    """mmcv's ``Conv2dAdaptivePadding``, masked."""


class MaskedAvgPool2d(MaskedOutput, nn.AvgPool2d):
    """``AvgPool2d``, masked: hidden pixels are zeros that count."""


class MaskedSigmoid(MaskedOutput, nn.Sigmoid):
    """``Sigmoid``, masked: it is not zero at zero."""


class MaskedHardsigmoid(MaskedOutput, nn.Hardsigmoid):
    """``Hardsigmoid``, masked: it is not zero at zero."""


class MaskedHSigmoid(MaskedOutput, HSigmoid):
    """mmcv's ``HSigmoid``, masked: it is not zero at zero."""


class MaskedLinear(MaskedOutput, nn.Linear):
    """``Linear`` over the channels of a ``(B, H, W, C)`` map, masked: its bias is not zero."""

    channels_last = True


class MaskedLayerNorm2d(SparseLayer, LayerNorm2d):
    """mmpretrain's ``LayerNorm2d``, masked: its bias is not zero."""

    def forward(self, x: Tensor, data_format: str = 'channel_first') -> Tensor:
        """Map ``(B, C, H, W)``, or ``(B, H, W, C)`` with ``data_format='channel_last'``, to the same shape."""
        out = super().forward(x, data_format)
        mask = self.sparse_context.mask
        return out if mask is None else mask.zero_hidden(out, data_format == 'channel_last')
