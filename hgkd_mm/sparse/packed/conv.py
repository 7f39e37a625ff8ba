"""Convolution over packed tiles."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ...compat import autocast_dtype
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

    ``rows (N_in, C)``, ``weight (O, C, Ky, Kx)``, a :class:`Rulebook` -> ``(N_out, O)``. What a halo would hold as
    zeros is never multiplied. Products of the taps are added up by gathering, in a fixed order.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, rulebook: Rulebook) -> Tensor:  # noqa: D102
        ctx.save_for_backward(rows, weight)
        ctx.rulebook = rulebook
        taps, gathered = _taps(weight), rulebook.inputs.of(rows)
        products = rows.new_empty(len(gathered), len(weight))
        for tap, pairs in rulebook.taps:
            torch.mm(gathered[pairs], taps[tap].T, out=products[pairs])
        return rulebook.to_outputs.of(products)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: D102
        rows, weight = ctx.saved_tensors
        rulebook = ctx.rulebook
        need_rows, need_weight = ctx.needs_input_grad[:2]
        gathered = rulebook.outputs.of(grad)
        grad_rows = grad_weight = None
        if need_weight:
            inputs = rulebook.inputs.of(rows)
            grad_taps = weight.new_empty(weight[0, 0].numel(), *weight.shape[:2])
            for tap in set(range(len(grad_taps))).difference(tap for tap, _ in rulebook.taps):
                grad_taps[tap] = 0
            for tap, pairs in rulebook.taps:
                torch.mm(gathered[pairs].T, inputs[pairs], out=grad_taps[tap])
            grad_weight = grad_taps.unflatten(0, weight.shape[2:]).permute(2, 3, 0, 1)
        if need_rows:
            taps = _taps(weight)
            products = grad.new_empty(len(gathered), weight.shape[1])
            for tap, pairs in rulebook.taps:
                torch.mm(gathered[pairs], taps[tap], out=products[pairs])
            grad_rows = rulebook.to_inputs.of(products)
        return grad_rows, grad_weight, None


def _taps(weight: Tensor) -> Tensor:
    """``(O, C, Ky, Kx)`` -> ``(Ky*Kx, O, C)``; a view where :func:`lay_out_by_tap` was here."""
    return weight.permute(2, 3, 0, 1).flatten(0, 1).contiguous()


def lay_out_by_tap(weight: Tensor) -> None:
    """Keep a weight ``(O, C, Ky, Kx)`` in memory as ``(Ky, Kx, O, C)``: what the rulebook multiplies with, as it is.

    Its shape and values stay. Copying it into that order at every step, and its gradient back, takes longer than the
    products of a small batch.
    """
    weight.data = weight.data.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)


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
        size = height // self.stride[0], width // self.stride[1]
        reads_own_tile = all(before == 0 and after <= 0 for before, after in halos)
        if self.kernel_size == (1, 1) and reads_own_tile:
            return self._pointwise(x, *size)
        if reads_own_tile:
            return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        halo_pixels = (height + sum(halos[0])) * (width + sum(halos[1]))
        if self.groups == self.in_channels > 1 and halo_pixels >= GRID_MIN_HALO * height * width:
            return mask.pack(super().forward(mask.unpack(x)))
        weight, bias = self.weight, self.bias
        dtype = autocast_dtype(x.device.type)
        if dtype is not None:
            x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        if not self.uses_rulebook(height, width):
            return HaloConv.apply(x, weight, bias, mask, self.axes, self.groups)
        out = RulebookConv.apply(to_rows(x), weight, mask.rulebook(height, width, self.axes))
        return from_rows(out if bias is None else out + bias, *size)

    def uses_rulebook(self, height: int, width: int) -> bool:
        """Say whether tiles of ``height`` x ``width`` pixels are convolved tap by tap."""
        pixels = height * width // (self.stride[0] * self.stride[1])
        return self.groups == 1 and self.kernel_size != (1, 1) and pixels <= RULEBOOK_MAX_PIXELS

    def _pointwise(self, x: Tensor, height: int, width: int) -> Tensor:
        # Sampled first: of a few channels, oneDNN's kernels with a stride write past their workspace
        # (https://github.com/uxlfoundation/oneDNN/issues/6035), which corrupts the heap.
        x = x[..., :: self.stride[0], :: self.stride[1]]
        if self.groups == 1 and height * width <= RULEBOOK_MAX_PIXELS:
            return from_rows(F.linear(to_rows(x), self.weight.flatten(1), self.bias), height, width)
        return F.conv2d(x, self.weight, self.bias, groups=self.groups)


class PackedConv2d(PackedConv, nn.Conv2d):
    """``Conv2d`` over packed tiles."""


class PackedConv2dAdaptivePadding(PackedConv, Conv2dAdaptivePadding):
    """mmcv's ``Conv2dAdaptivePadding`` over packed tiles: the padding of a map that the stride divides."""
