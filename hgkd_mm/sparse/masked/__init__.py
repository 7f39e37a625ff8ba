"""The ``masked`` backend: compute densely, then mask. The reference the others are tested against.

Maps stay ``(B, C, H, W)`` and are zero at hidden positions after every layer, as in SparK (arXiv 2301.03580).
"""

from mmcv.cnn.bricks import Conv2dAdaptivePadding, HSigmoid
from mmpretrain.models.backbones.hornet import HorNetLayerNorm
from mmpretrain.models.utils.norm import GRN, LayerNorm2d
from torch import nn

from .norm import (
    MaskedBatchNorm2d,
    MaskedGRN,
    MaskedGroupNorm,
    MaskedHorNetLayerNorm,
    MaskedLayerNorm,
    MaskedLayerNorm2d,
    MaskedSyncBatchNorm,
)
from .output import (
    MaskedAvgPool2d,
    MaskedConv2d,
    MaskedConv2dAdaptivePadding,
    MaskedHardsigmoid,
    MaskedHSigmoid,
    MaskedLinear,
    MaskedSigmoid,
)
from .pool import MaskedGlobalAvgPool2d, MaskedMaxPool2d

#: The class that takes an ordinary layer's place.
MASKED_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: MaskedConv2d,
    Conv2dAdaptivePadding: MaskedConv2dAdaptivePadding,
    nn.Linear: MaskedLinear,
    nn.MaxPool2d: MaskedMaxPool2d,
    nn.AvgPool2d: MaskedAvgPool2d,
    nn.AdaptiveAvgPool2d: MaskedGlobalAvgPool2d,
    nn.BatchNorm2d: MaskedBatchNorm2d,
    nn.SyncBatchNorm: MaskedSyncBatchNorm,
    nn.GroupNorm: MaskedGroupNorm,
    nn.LayerNorm: MaskedLayerNorm,
    LayerNorm2d: MaskedLayerNorm2d,
    HorNetLayerNorm: MaskedHorNetLayerNorm,
    GRN: MaskedGRN,
    nn.Sigmoid: MaskedSigmoid,
    nn.Hardsigmoid: MaskedHardsigmoid,
    HSigmoid: MaskedHSigmoid,
}

__all__ = ['MASKED_LAYERS']
