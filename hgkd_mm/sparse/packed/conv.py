"""Convolution over packed tiles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..context import SparseContext
from ..mask import Rulebook
from .geometry import LAYER_GEOMETRY, halo_of, single
from .rows import from_rows, to_rows, with_halo

#: Output tiles up to this side use the rulebook, or a plain matrix product when the kernel is 1x1. Measured with
#: `tools/speed.py`: a wide halo around a tiny tile is mostly zeros, and convolution on tiny tiles is slow.
RULEBOOK_MAX_SIDE = 2


class RulebookConv(torch.autograd.Function):
    """Convolution as one matrix product a tap over the rows which that tap connects.

    ``rows (N_in, C)``, ``weight (O, C, K, K)``, a rulebook of :meth:`PatchMask.rulebook` -> ``(num_out, O)``. What a
    halo would hold as zeros is never multiplied. In a tap no row occurs twice, so the sums are deterministic.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, rulebook: Rulebook, num_out: int) -> Tensor:  # noqa: D102
        taps = weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()  # (K*K, C, O)
        ctx.save_for_backward(rows, taps)
        ctx.rulebook, ctx.kernel = rulebook, weight.shape[2:]
        out = rows.new_zeros(num_out, taps.shape[2])
        for tap, inputs, outputs in rulebook:
            _add_rows(out, outputs, _take_rows(rows, inputs) @ taps[tap])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # noqa: D102
        rows, taps = ctx.saved_tensors
        need_rows, need_weight = ctx.needs_input_grad[:2]
        grad_rows = torch.zeros_like(rows) if need_rows else None
        grad_taps = torch.zeros_like(taps) if need_weight else None
        for tap, inputs, outputs in ctx.rulebook:
            grad_out = _take_rows(grad, outputs)
            if grad_rows is not None:
                _add_rows(grad_rows, inputs, grad_out @ taps[tap].T)
            if grad_taps is not None:
                torch.mm(_take_rows(rows, inputs).T, grad_out, out=grad_taps[tap])
        if grad_taps is not None:
            grad_taps = grad_taps.unflatten(0, ctx.kernel).permute(3, 2, 0, 1)
        return grad_rows, grad_taps, None, None


def _take_rows(rows: Tensor, index: Tensor) -> Tensor:
    # A tap that connects every row connects each with itself, in order: the middle one.
    return rows if len(index) == len(rows) else rows.index_select(0, index)


def _add_rows(rows: Tensor, index: Tensor, values: Tensor) -> None:
    if len(index) == len(rows):
        rows += values
    else:
        rows.index_add_(0, index, values)


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
        side_out = side // self.stride[0]
        is_pointwise = before == 0 and after <= 0 and self.kernel_size == (1, 1)  # no tile looks at another
        if side_out <= RULEBOOK_MAX_SIDE and self.groups == 1:
            if is_pointwise:
                step = self.stride[0]
                rows = F.linear(to_rows(x[..., ::step, ::step]), self.weight.flatten(1), self.bias)
                return from_rows(rows, side_out)
            rulebook = mask.rulebook(side, *(single(getattr(self, key)) for key in LAYER_GEOMETRY))
            weight = self.weight
            if torch.is_autocast_enabled(x.device.type):
                x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
            out = RulebookConv.apply(to_rows(x), weight, rulebook, mask.num_visible * side_out**2)
            out = out if self.bias is None else out + self.bias.to(out.dtype)
            return from_rows(out, side_out)
        if is_pointwise:
            return super().forward(x)
        halo = with_halo(x, mask, before, after)
        return F.conv2d(halo, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
