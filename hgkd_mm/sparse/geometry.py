"""How convolutions and poolings step over a map, one axis at a time."""

from typing import Any, NamedTuple

from mmcv.cnn.bricks import Conv2dAdaptivePadding

from ..errors import MaskError, UnsupportedLayerError


class Axis(NamedTuple):
    """Kernel size, stride, zero padding before the map and dilation along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    def halo(self, side: int) -> tuple[int, int]:
        """Return how many pixels a layer reads before and after a tile of ``side`` pixels; negative: it stops short.

        Raises:
            MaskError: The tile is not a whole number of strides.
        """
        if side % self.stride:
            raise MaskError(
                f'a layer of stride {self.stride} meets patches {side} px wide at its input: '
                'the patch must be a multiple of the total stride of the network'
            )
        return self.padding, self.dilation * (self.kernel - 1) - self.padding - (self.stride - 1)


Axes = tuple[Axis, Axis]


def layer_axes(layer: Any, path: str) -> Axes:
    """Read the geometry of a convolution or pooling, rows then columns.

    Args:
        layer: ``Conv2d``, mmcv's ``Conv2dAdaptivePadding``, ``MaxPool2d`` or ``AvgPool2d``.
        path: Its path in the network, for the error.

    Raises:
        UnsupportedLayerError: Its output is not aligned with its input: a map of H pixels must become
            ``H / stride`` pixels for every H which the stride divides.
    """
    if getattr(layer, 'padding_mode', 'zeros') != 'zeros':
        raise UnsupportedLayerError(f"layer '{path}' has padding_mode='{layer.padding_mode}': only 'zeros' is exact")
    if getattr(layer, 'return_indices', False):
        raise UnsupportedLayerError(f"layer '{path}': return_indices has no sparse form")
    kernels, strides = _pair(layer.kernel_size), _pair(layer.stride)
    dilations = _pair(getattr(layer, 'dilation', 1))
    axes = []
    for index, (kernel, stride, dilation) in enumerate(zip(kernels, strides, dilations, strict=True)):
        reach = dilation * (kernel - 1)
        if isinstance(layer, Conv2dAdaptivePadding):
            total = max(reach + 1 - stride, 0)
        elif layer.padding == 'same':
            total = reach
        elif layer.padding == 'valid':
            total = 0
        else:
            total = 2 * _pair(layer.padding)[index]
        # H + total - reach - 1 = (H / stride - 1) * stride + rest, and the rounding must drop the rest
        rest = total - reach - 1 + stride
        if not (-stride < rest <= 0 if getattr(layer, 'ceil_mode', False) else 0 <= rest < stride):
            raise UnsupportedLayerError(
                f"layer '{path}' ({type(layer).__name__}, kernel {kernel}, stride {stride}, padding {total} in all, "
                f'dilation {dilation}): its output has not one pixel for each {stride} of its input'
            )
        axes.append(Axis(kernel, stride, total // 2, dilation))
    return axes[0], axes[1]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, tuple | list) else (value, value)
