"""Convolution over packed tiles by spconv."""

import torch
from torch import Tensor, nn

from ..packed.conv import PackedConv
from ..packed.rows import from_rows, to_rows
from .library import convolve, pairs_of


class SpconvConv2d(PackedConv, nn.Conv2d):
    """``Conv2d`` over packed tiles by spconv; a pointwise or grouped one is the packed backend's."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to ``(V, C', P/stride, Q/stride)``."""
        mask = self.sparse_context.mask
        if mask is None or self.groups > 1 or self.kernel_size == (1, 1):
            return super().forward(x)
        height, width = x.shape[-2:]
        for axis, side in zip(self.axes, (height, width), strict=True):
            axis.halo(side)  # refuses a tile that is no whole number of strides
        # spconv has no bfloat16 on CPUs.
        with torch.autocast(x.device.type, enabled=False):
            rows = to_rows(x).to(self.weight.dtype)
            out = convolve(rows, self.weight, pairs_of(mask, height, width, self.axes))
            out = out if self.bias is None else out + self.bias
        return from_rows(out, height // self.stride[0], width // self.stride[1])
