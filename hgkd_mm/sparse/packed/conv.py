"""Convolution over packed tiles."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..context import SparseLayer
from ..geometry import Axes
from ..mask import PatchMask, Rulebook
from .rows import from_rows, read_halo, return_halo, to_rows

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
        ctx.save_for_backward(rows, weight)
        ctx.rulebook = rulebook
        taps = _taps(weight)
        out = rows.new_zeros(num_out, taps.shape[2])
        for tap, inputs, outputs in rulebook:
            _add_rows(out, outputs, _take_rows(rows, inputs) @ taps[tap])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # noqa: D102
        rows, weight = ctx.saved_tensors
        taps = _taps(weight)
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
            grad_taps = grad_taps.unflatten(0, weight.shape[2:]).permute(3, 2, 0, 1)
        return grad_rows, grad_taps, None, None


def _taps(weight: Tensor) -> Tensor:
    return weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()  # (Ky*Kx, C, O)


def _take_rows(rows: Tensor, index: Tensor) -> Tensor:
    # A tap that connects every row connects each with itself, in order: the middle one.
    return rows if len(index) == len(rows) else rows.index_select(0, index)


def _add_rows(rows: Tensor, index: Tensor, values: Tensor) -> None:
    if len(index) == len(rows):
        rows += values
    else:
        rows.index_add_(0, index, values)


class HaloConv(torch.autograd.Function):
    """Convolution over tiles with halos. Keeps the tiles for the backward pass and reads the halos again."""

    @staticmethod
    def forward(  # noqa: D102
        ctx, x: Tensor, weight: Tensor, bias: Tensor | None, mask: PatchMask, axes: Axes, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.settings = mask, axes, groups
        stride, dilation = zip(*((axis.stride, axis.dilation) for axis in axes), strict=True)
        return F.conv2d(read_halo(x, mask, axes), weight, bias, stride, 0, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:  # noqa: D102
        x, weight = ctx.saved_tensors
        mask, axes, groups = ctx.settings
        stride, dilation = ([getattr(axis, key) for axis in axes] for key in ('stride', 'dilation'))
        grad_halo, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad, read_halo(x, mask, axes), weight, [len(weight)], stride, [0, 0], dilation, False, [0, 0], groups,
            ctx.needs_input_grad[:3],
        )  # fmt: skip
        grad_x = None if grad_halo is None else return_halo(grad_halo, mask, axes, *x.shape[-2:])
        return grad_x, grad_weight, grad_bias, None, None, None


class PackedConv(SparseLayer):
    """Mixin: a convolution over packed tiles; over ordinary maps when no mask is in force."""

    # Of the convolution that this is mixed into.
    axes: Axes
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    kernel_size: tuple[int, ...]
    in_channels: int
    groups: int

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
        reads_own_tile = all(before == 0 and after <= 0 for before, after in halos)
        if self.kernel_size == (1, 1) and reads_own_tile and is_tiny:
            return self._pointwise(x, *size)
        if reads_own_tile:
            return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        halo_pixels = (height + sum(halos[0])) * (width + sum(halos[1]))
        if self.groups == self.in_channels > 1 and halo_pixels >= GRID_MIN_HALO * height * width:
            return mask.pack(super().forward(mask.unpack(x)))
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        if not is_tiny:
            return HaloConv.apply(x, weight, bias, mask, self.axes, self.groups)
        rulebook = mask.rulebook(height, width, self.axes)
        out = RulebookConv.apply(to_rows(x), weight, rulebook, mask.num_visible * size[0] * size[1])
        return from_rows(out if bias is None else out + bias, *size)

    def _pointwise(self, x: Tensor, height: int, width: int) -> Tensor:
        rows = to_rows(x[..., :: self.stride[0], :: self.stride[1]])
        return from_rows(F.linear(rows, self.weight.flatten(1), self.bias), height, width)


class PackedConv2d(PackedConv, nn.Conv2d):
    """``Conv2d`` over packed tiles."""


class PackedConv2dAdaptivePadding(PackedConv, Conv2dAdaptivePadding):
    """mmcv's ``Conv2dAdaptivePadding`` over packed tiles: the padding of a map that the stride divides."""
