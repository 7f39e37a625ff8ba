"""How far a layer reads around a tile."""

from torch import nn

from ...errors import MaskError

LAYER_GEOMETRY = ('kernel_size', 'stride', 'padding', 'dilation')


def halo_of(layer: nn.Conv2d | nn.MaxPool2d, side: int) -> tuple[int, int]:
    """Return how far a layer reads before and after a tile of ``side`` pixels.

    Raises:
        MaskError: The tile is not a whole number of strides.
    """
    kernel, stride, padding, dilation = (single(getattr(layer, key)) for key in LAYER_GEOMETRY)
    if side % stride:
        raise MaskError(
            f'a layer of stride {stride} meets patches {side} px wide at its input: '
            'the patch must be a multiple of the total stride of the network'
        )
    return padding, dilation * (kernel - 1) - padding - (stride - 1)


def single(value: int | tuple[int, ...]) -> int:
    """Return the value of a geometry setting; conversion has made sure that height and width agree."""
    return value[0] if isinstance(value, tuple) else value
