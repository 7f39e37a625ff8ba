"""Pooling over packed tiles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..context import SparseContext
from .geometry import halo_of
from .rows import with_halo


class PackedMaxPool2d(nn.MaxPool2d):
    """A max-pooling over packed tiles; over ordinary maps when no mask is in force."""

    sparse_context: SparseContext

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, P)`` to ``(V, C, P/stride, P/stride)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        halo = with_halo(x, mask, *halo_of(self, x.shape[-1]), fill=-torch.inf)
        return F.max_pool2d(halo, self.kernel_size, self.stride, 0, self.dilation)
