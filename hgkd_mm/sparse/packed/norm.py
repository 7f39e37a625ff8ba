"""Normalisation over packed tiles whose statistics are those of an image.

Batch normalisation over ``(V, P, Q)`` *is* the sparse one, and layer normalisation over channels looks at one position:
both run unchanged.
"""

import torch
from mmpretrain.models.utils.norm import GRN
from torch import Tensor, nn

from ..context import SparseLayer
from ..mask import PatchMask
from ..precision import at_least_float32


class PackedGroupNorm(SparseLayer, nn.GroupNorm):
    """``GroupNorm`` over packed tiles: statistics of a group's channels over the visible pixels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to the same shape."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        groups = at_least_float32(x).reshape(len(x), self.num_groups, -1)
        centred = groups - self._image_mean(groups, mask)
        normalised = centred * (self._image_mean(centred.square(), mask) + self.eps).rsqrt()
        out = normalised.view(x.shape)
        if self.affine:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)

    @staticmethod
    def _image_mean(groups: Tensor, mask: PatchMask) -> Tensor:
        means = mask.sum_by_image(groups.mean(-1)) / mask.visible_by_image()[:, None]
        return means[mask.image][..., None]


class PackedGRN(SparseLayer, GRN):
    """mmpretrain's ``GRN`` over packed tiles: norms over the visible pixels of an image."""

    gamma: Tensor
    beta: Tensor
    eps: float

    def forward(self, x: Tensor, data_format: str = 'channel_first') -> Tensor:
        """Map ``(V, C, P, Q)``, or ``(V, P, Q, C)`` with ``data_format='channel_last'``, to the same shape."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x, data_format)
        space, gamma, beta = (1, 2), self.gamma, self.beta
        if data_format == 'channel_first':
            space, gamma, beta = (2, 3), gamma[:, None, None], beta[:, None, None]
        wide = at_least_float32(x)
        squares = mask.sum_by_image(wide.square().sum(space))
        # The square root's gradient at zero is infinite, a norm's is zero.
        norms = squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt()
        scale = (norms / (norms.mean(1, keepdim=True) + self.eps))[mask.image]
        scale = scale[:, None, None] if data_format == 'channel_last' else scale[..., None, None]
        return gamma * (x * scale) + beta + x
