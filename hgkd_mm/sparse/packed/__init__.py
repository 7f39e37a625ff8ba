"""The ``packed`` backend: the ordinary layers on the visible patches only.

Maps are ``(V, C, P, Q)``, one tile a visible patch. A layer's zero padding becomes a halo read from the visible
neighbour patches; hidden and off-image neighbours contribute nothing. Batch normalisation over ``(V, P, Q)`` *is*
the sparse batch normalisation, so most norms and all activations run unchanged.
"""

from mmcv.cnn.bricks import Conv2dAdaptivePadding, DropPath
from mmpretrain.models.utils.norm import GRN
from torch import nn

from .conv import PackedConv2d, PackedConv2dAdaptivePadding
from .drop import PackedDropPath
from .norm import PackedGRN, PackedGroupNorm
from .pool import PackedAvgPool2d, PackedGlobalAvgPool2d, PackedMaxPool2d

#: The class that takes an ordinary layer's place.
PACKED_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: PackedConv2d,
    Conv2dAdaptivePadding: PackedConv2dAdaptivePadding,
    nn.MaxPool2d: PackedMaxPool2d,
    nn.AvgPool2d: PackedAvgPool2d,
    nn.AdaptiveAvgPool2d: PackedGlobalAvgPool2d,
    nn.GroupNorm: PackedGroupNorm,
    GRN: PackedGRN,
    DropPath: PackedDropPath,
}

__all__ = ['PACKED_LAYERS']
