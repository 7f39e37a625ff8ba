"""Pooling over packed tiles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..context import SparseLayer
from ..geometry import Axes
from ..mask import PatchMask
from ..precision import at_least_float32
from .rows import read_halo, return_halo, with_halo


class HaloMaxPool(torch.autograd.Function):
    """Max-pooling over tiles with halos. Keeps no map for the backward pass, only where in the halos the maxima are."""

    @staticmethod
    def forward(ctx, x: Tensor, mask: PatchMask, axes: Axes) -> Tensor:  # noqa: D102
        halo = read_halo(x, mask, axes, fill=-torch.inf)
        out, indices = F.max_pool2d_with_indices(halo, *_window(axes))
        # Indices are within a halo, small: 64 bits each would be as large as two of the maps.
        is_small = halo[0, 0].numel() <= torch.iinfo(torch.int16).max
        ctx.save_for_backward(indices.to(torch.int16 if is_small else torch.int32))
        ctx.settings = mask, axes, x.shape[-2:], halo.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        (indices,) = ctx.saved_tensors
        mask, axes, size, halo_shape = ctx.settings
        # Of the halos only shape and layout count.
        halo = torch.empty(halo_shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last)
        kernel, stride, padding, dilation = _window(axes)
        grad_halo = torch.ops.aten.max_pool2d_with_indices_backward(
            grad, halo, kernel, stride, padding, dilation, False, indices.long()
        )
        return return_halo(grad_halo, mask, axes, *size), None, None


def _window(axes: Axes) -> tuple[list[int], list[int], list[int], list[int]]:
    return [a.kernel for a in axes], [a.stride for a in axes], [0, 0], [a.dilation for a in axes]


class PackedMaxPool2d(SparseLayer, nn.MaxPool2d):
    """``MaxPool2d`` over packed tiles: hidden pixels, like those off the image, are never the maximum."""

    axes: Axes

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to ``(V, C, P/stride, Q/stride)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        return HaloMaxPool.apply(x, mask, self.axes)


class PackedAvgPool2d(SparseLayer, nn.AvgPool2d):
    """``AvgPool2d`` over packed tiles: hidden pixels are zeros that count, as in SparK's dense-then-mask."""

    axes: Axes

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to ``(V, C, P/stride, Q/stride)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        halo = with_halo(x, mask, self.axes)
        if all(axis.padding == 0 and axis.kernel <= axis.stride for axis in self.axes):
            return F.avg_pool2d(halo, self.kernel_size, self.stride)  # no window leaves its tile
        sums = F.avg_pool2d(halo, self.kernel_size, self.stride, divisor_override=1)
        return sums / self._divisors(x, mask)

    def _divisors(self, x: Tensor, mask: PatchMask) -> Tensor:
        # Off the image a window may hold fewer pixels: what the dense layer divides a map of ones by.
        _, rows, columns = mask.visible.shape
        ones = x.new_ones(1, 1, rows * x.shape[-2], columns * x.shape[-1])
        sums = F.avg_pool2d(ones, self.kernel_size, self.stride, self.padding, self.ceil_mode, divisor_override=1)
        return mask.pack((sums / super().forward(ones)).expand(len(mask.visible), -1, -1, -1))


class PackedGlobalAvgPool2d(SparseLayer, nn.AdaptiveAvgPool2d):
    """``AdaptiveAvgPool2d(1)`` over packed tiles: the mean over the visible pixels of each image.

    Every tile carries its image's mean, so that what follows (1x1 convolutions, a gate by broadcasting) just works.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(V, C, P, Q)`` to ``(V, C, 1, 1)``."""
        mask = self.sparse_context.mask
        if mask is None:
            return super().forward(x)
        means = mask.sum_by_image(at_least_float32(x).mean((2, 3))) / mask.visible_by_image()[:, None]
        return means.to(x.dtype)[mask.image][..., None, None]
