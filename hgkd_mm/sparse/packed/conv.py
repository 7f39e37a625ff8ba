"""Convolution over packed tiles."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..context import SparseLayer
from ..geometry import Axes
from ..mask import PatchMask, Rulebook
from .rows import from_rows, to_rows, with_halo

#: Output tiles up to this many pixels use the rulebook, or a plain matrix product when the kernel is 1x1. Measured
#: with `tools/speed.py`: a wide halo around a tiny tile is mostly zeros, and convolution on tiny tiles is slow.
RULEBOOK_MAX_PIXELS = 4

#: A depthwise convolution whose halo is this many times the tile or more runs on the unpacked grid instead.
GRID_MIN_HALO = 3.0


class RulebookConv(torch.autograd.Function):
    """Convolution as one matrix product a tap over the rows which that tap connects.

    ``rows (N_in, C)``, ``weight (O, C, Ky, Kx)``, a rulebook of :meth:`PatchMask.rulebook` -> ``(num_out, O)``. What a
    halo would hold as zeros is never multiplied. In a tap no row occurs twice, so the sums are deterministic.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, rulebook: Rulebook, num_out: int) -> Tensor:  # noqa: D102
        taps = weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()  # (Ky*Kx, C, O)
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


class PackedConv(SparseLayer):
    """Mixin: a convolution over packed tiles; over ordinary maps when no mask is in force."""

    axes: Axes

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to ``(V, C', P/stride, Q/stride)``.

        Raises:
            MaskError: The tile is not a whole number of strides.
        """
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        height, width = x.shape[-2:]
        halos = [axis.halo(side) for axis, side in zip(self.axes, (height, width), strict=True)]
        size = height // self.axes[0].stride, width // self.axes[1].stride
        is_tiny = size[0] * size[1] <= RULEBOOK_MAX_PIXELS and self.groups == 1
        if self.kernel_size == (1, 1) and self.axes[0].padding == self.axes[1].padding == 0:
            return self._pointwise(x, *size) if is_tiny else self._convolve(x)
        if is_tiny:
            return self._by_rulebook(x, mask, *size)
        halo_pixels = (height + sum(halos[0])) * (width + sum(halos[1]))
        if self.groups > 1 and self.groups == self.in_channels and halo_pixels >= GRID_MIN_HALO * height * width:
            return mask.pack(super().forward(mask.unpack(x)))
        return self._convolve(with_halo(x, mask, self.axes))

    def _convolve(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _pointwise(self, x: Tensor, height: int, width: int) -> Tensor:
        rows = to_rows(x[..., :: self.stride[0], :: self.stride[1]])
        return from_rows(F.linear(rows, self.weight.flatten(1), self.bias), height, width)

    def _by_rulebook(self, x: Tensor, mask: PatchMask, height: int, width: int) -> Tensor:
        rulebook = mask.rulebook(*x.shape[-2:], self.axes)
        weight = self.weight
        if torch.is_autocast_enabled(x.device.type):
            x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
        out = RulebookConv.apply(to_rows(x), weight, rulebook, mask.num_visible * height * width)
        return from_rows(out if self.bias is None else out + self.bias.to(out.dtype), height, width)


class PackedConv2d(PackedConv, nn.Conv2d):
    """``Conv2d`` over packed tiles."""


class PackedConv2dAdaptivePadding(PackedConv, Conv2dAdaptivePadding):
    """mmcv's ``Conv2dAdaptivePadding`` over packed tiles: the padding of a map that the stride divides."""
