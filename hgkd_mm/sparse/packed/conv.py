"""Convolution over packed tiles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..context import SparseContext
from .geometry import LAYER_GEOMETRY, halo_of, single
from .rows import from_rows, gather_rows, to_rows, with_halo

#: Output tiles up to this side use the rulebook. Measured with `tools/speed.py`: a wide halo around a tiny tile
#: is mostly zeros, and convolution backward on tiny tiles is slow.
RULEBOOK_MAX_SIDE = 2


class RulebookConv(torch.autograd.Function):
    """Convolution as gather and matrix product, forward and backward, without a scatter.

    ``rows (N_in, C)``, ``weight (O, C, K, K)``, tables of :meth:`PatchMask.rulebook` -> ``(N_out, O)``.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, table: Tensor, inverse: Tensor) -> Tensor:  # noqa: D102
        columns = gather_rows(rows, table).flatten(1)
        ctx.save_for_backward(columns, weight, inverse)
        return columns @ weight.permute(2, 3, 1, 0).flatten(0, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # noqa: D102
        columns, weight, inverse = ctx.saved_tensors
        out, inputs, height, width = weight.shape
        grad_rows = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_columns = gather_rows(grad, inverse).flatten(1)
            grad_rows = grad_columns @ weight.permute(2, 3, 0, 1).reshape(-1, inputs)
        if ctx.needs_input_grad[1]:
            grad_weight = (grad.T @ columns).view(out, height, width, inputs).permute(0, 3, 1, 2)
        return grad_rows, grad_weight, None, None


class PackedConv2d(nn.Conv2d):
    """A convolution over packed tiles; over ordinary maps when no mask is in force."""

    sparse_context: SparseContext

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, P)`` to ``(V, C', P/stride, P/stride)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        side = x.shape[-1]
        before, after = halo_of(self, side)
        if before == 0 and after <= 0:  # 1x1: no tile looks at another
            return super().forward(x)
        side_out = side // self.stride[0]
        if side_out <= RULEBOOK_MAX_SIDE and self.groups == 1:
            tables = mask.rulebook(side, *(single(getattr(self, key)) for key in LAYER_GEOMETRY))
            weight = self.weight
            if torch.is_autocast_enabled(x.device.type):
                x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
            out = RulebookConv.apply(to_rows(x), weight, *tables)
            out = out if self.bias is None else out + self.bias.to(out.dtype)
            return from_rows(out, side_out)
        halo = with_halo(x, mask, before, after)
        return F.conv2d(halo, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
