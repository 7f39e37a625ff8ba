"""The ``packed`` backend: the ordinary layers on the visible patches only.

Maps are ``(V, C, P, P)``, one tile a visible patch. A layer's zero padding becomes a halo read from the visible
neighbour patches; hidden and off-image neighbours contribute nothing. Batch normalisation over ``(V, P, P)`` *is*
the sparse batch normalisation, so norms and activations run unchanged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import MaskError
from .context import SparseContext
from .mask import PatchMask

#: Output tiles up to this side use the rulebook. Measured with `tools/speed.py`: a wide halo around a tiny tile
#: is mostly zeros, and convolution backward on tiny tiles is slow.
RULEBOOK_MAX_SIDE = 2


def to_rows(packed: Tensor) -> Tensor:
    """``(V, C, P, P)`` -> ``(V*P*P, C)``; a view when the memory is channels-last."""
    return packed.permute(0, 2, 3, 1).reshape(-1, packed.shape[1])


def from_rows(rows: Tensor, side: int) -> Tensor:
    """``(V*P*P, C)`` -> ``(V, C, P, P)``, channels last in memory."""
    return rows.view(-1, side, side, rows.shape[1]).permute(0, 3, 1, 2)


def gather_rows(rows: Tensor, table: Tensor, fill: float = 0.0) -> Tensor:
    """Select rows; number ``len(rows)`` gives ``fill``.

    Args:
        rows: ``(N, C)``.
        table: Row numbers of any shape.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(*table.shape, C)``.
    """
    extended = torch.cat([rows, rows.new_full((1, rows.shape[1]), fill)])
    return extended.index_select(0, table.flatten()).view(*table.shape, rows.shape[1])


def with_halo(packed: Tensor, mask: PatchMask, before: int, after: int, fill: float = 0.0) -> Tensor:
    """Surround each tile by its neighbours' pixels.

    Args:
        packed: ``(V, C, P, P)``.
        mask: The mask that numbered the tiles.
        before: Pixels to add on the left and on top; negative values crop.
        after: Pixels to add on the right and below; negative values crop.
        fill: Value for a pixel that is hidden or off the image.

    Returns:
        ``(V, C, before+P+after, before+P+after)``.
    """
    side = packed.shape[-1]
    window = mask.window_rows(side, range(-before, side + after))
    return gather_rows(to_rows(packed), window, fill).permute(0, 3, 1, 2)


def halo_of(layer: nn.Conv2d | nn.MaxPool2d, side: int) -> tuple[int, int]:
    """Return how far a layer reads before and after a tile of ``side`` pixels.

    Raises:
        MaskError: The tile is not a whole number of strides.
    """
    kernel, stride, padding, dilation = (_single(getattr(layer, key)) for key in LAYER_GEOMETRY)
    if side % stride:
        raise MaskError(
            f'a layer of stride {stride} meets patches {side} px wide at its input: '
            'the patch must be a multiple of the total stride of the network'
        )
    return padding, dilation * (kernel - 1) - padding - (stride - 1)


LAYER_GEOMETRY = ('kernel_size', 'stride', 'padding', 'dilation')


def _single(value: int | tuple[int, ...]) -> int:
    # Conversion has made sure that height and width agree.
    return value[0] if isinstance(value, tuple) else value


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
            tables = mask.rulebook(side, *(_single(getattr(self, key)) for key in LAYER_GEOMETRY))
            weight = self.weight
            if torch.is_autocast_enabled(x.device.type):
                x, weight = (t.to(torch.get_autocast_dtype(x.device.type)) for t in (x, weight))
            out = RulebookConv.apply(to_rows(x), weight, *tables)
            out = out if self.bias is None else out + self.bias.to(out.dtype)
            return from_rows(out, side_out)
        halo = with_halo(x, mask, before, after)
        return F.conv2d(halo, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


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
