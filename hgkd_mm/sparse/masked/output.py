"""Layers that run densely and whose output is then zeroed at hidden positions."""

from mmcv.cnn.bricks import Conv2dAdaptivePadding, HSigmoid
from torch import Tensor, nn

from .layer import MaskedLayer


class MaskedOutput(MaskedLayer):
    """Mixin: the ordinary layer, then the mask. A globally pooled 1x1 map is no map and stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C', H', W')``."""
        out = super().forward(x)
        mask = self.mask_over(out)
        return out if mask is None else mask.zero_hidden(out)


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


class MaskedLinear(MaskedLayer, nn.Linear):
    """``Linear`` over the channels, masked: its bias is not zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, W, C)`` or ``(B, H*W, C)`` to ``(..., C')``."""
        return self.zero_hidden_last(super().forward(x))
