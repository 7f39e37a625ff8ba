"""Which patches of each image the student may see, and the index maps that follow from it."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MaskError


#: Tap number, input rows and output rows of each tap of a convolution.
Rulebook = list[tuple[int, Tensor, Tensor]]

T = TypeVar('T')


class PatchMask:
    """A batch of patch masks, with the row tables every packed layer needs.

    The visible patches of a batch are numbered ``0..V-1`` in image, row, column order. A *packed* map is
    ``(V, C, P, P)``: one tile a visible patch, ``P`` pixels wide at that layer. As rows, ``(V*P*P, C)``,
    pixel ``(y, x)`` of tile ``v`` is row ``(v*P + y)*P + x``. Tables are built once a mask and layer geometry.

    Args:
        visible: Boolean ``(B, Hp, Wp)``, True where the student may see the patch.
        patch_size: Side of a patch in pixels of the image.

    Raises:
        MaskError: The mask is not boolean, not ``(B, Hp, Wp)``, or hides everything.
    """

    def __init__(self, visible: Tensor, patch_size: int) -> None:
        if visible.dtype != torch.bool or visible.dim() != 3:
            raise MaskError(
                f'a patch mask is a boolean tensor (B, Hp, Wp); found {visible.dtype} of shape {tuple(visible.shape)}'
            )
        self.visible = visible
        self.patch_size = patch_size
        #: ``(V,)`` image, row and column of every visible patch.
        self.image, self.row, self.column = visible.nonzero(as_tuple=True)
        if self.num_visible == 0:
            raise MaskError(f'no patch is visible in a batch of {visible.shape[0]} images')
        self._tables: dict[tuple, Any] = {}

    @property
    def num_visible(self) -> int:
        """Number of visible patches V in the whole batch."""
        return len(self.image)

    def check_images(self, images: Tensor) -> None:
        """Raise MaskError unless ``images`` ``(B, C, H, W)`` are what this mask was drawn for."""
        batch, rows, columns = self.visible.shape
        expected = (batch, rows * self.patch_size, columns * self.patch_size)
        found = (images.shape[0], *images.shape[-2:])
        if found != expected:
            raise MaskError(
                f'images of (batch, height, width) {found} do not fit a mask of {rows}x{columns} patches '
                f'of {self.patch_size} px for {batch} images: expected {expected}'
            )

    def grid(self, height: int, width: int) -> Tensor:
        """Return the mask at a layer's resolution: boolean ``(B, 1, height, width)``."""

        def build() -> Tensor:
            _, rows, columns = self.visible.shape
            if height % rows or width % columns:
                raise MaskError(
                    f'a map of {height}x{width} does not divide into {rows}x{columns} patches: '
                    f'is the patch ({self.patch_size} px) smaller than the total stride of the network?'
                )
            mask = self.visible[:, None].repeat_interleave(height // rows, dim=2)
            return mask.repeat_interleave(width // columns, dim=3)

        return self._cached(('grid', height, width), build)

    def pack(self, grid: Tensor) -> Tensor:
        """Gather the visible tiles: ``(B, C, H, W)`` -> ``(V, C, P, P)``, channels last in memory."""
        _, channels, height, width = grid.shape
        side = height // self.visible.shape[1]
        rows = grid.permute(0, 2, 3, 1).reshape(-1, channels)
        tiles = rows.index_select(0, self.grid_rows(height, width))
        return tiles.view(-1, side, side, channels).permute(0, 3, 1, 2)

    def unpack(self, packed: Tensor) -> Tensor:
        """Put tiles back, zeros in the gaps: ``(V, C, P, P)`` -> ``(B, C, H, W)``, channels last in memory."""
        batch, rows, columns = self.visible.shape
        _, channels, side, _ = packed.shape
        height, width = rows * side, columns * side
        pixels = packed.permute(0, 2, 3, 1).reshape(-1, channels)
        grid = packed.new_zeros(batch * height * width, channels)
        grid = grid.index_copy(0, self.grid_rows(height, width), pixels)
        return grid.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def grid_rows(self, height: int, width: int) -> Tensor:
        """Row numbers in ``(B*H*W, C)`` of the pixels of all visible tiles, in packed order: ``(V*P*P,)``."""

        def build() -> Tensor:
            _, rows, columns = self.visible.shape
            y = torch.arange(height, device=self.visible.device).view(rows, -1)
            x = torch.arange(width, device=self.visible.device).view(columns, -1)
            above = self.image[:, None] * height + y[self.row]
            return (above[:, :, None] * width + x[self.column][:, None, :]).flatten()

        return self._cached(('grid rows', height, width), build)

    def window_rows(self, side: int, span: range) -> Tensor:
        """Row numbers of a square window around each tile, for gathering halos.

        Args:
            side: Tile side P at the layer.
            span: Pixel coordinates relative to the tile's corner, e.g. ``range(-1, P + 1)``.

        Returns:
            ``(V, len(span), len(span))`` rows; ``V*P*P`` stands for a pixel that is hidden or off the image.
        """

        def build() -> Tensor:
            device = self.visible.device
            coordinate = torch.arange(span.start, span.stop, device=device)
            patch, inside = coordinate.div(side, rounding_mode='floor'), coordinate % side
            margin = int(patch.abs().max())
            _, rows, columns = self.visible.shape
            slots = self.visible.new_full((len(self.visible), rows, columns), self.num_visible, dtype=torch.long)
            slots[self.image, self.row, self.column] = torch.arange(self.num_visible, device=device)
            slots = F.pad(slots, [margin] * 4, value=self.num_visible)
            slot = slots[
                self.image[:, None, None],
                self.row[:, None, None] + patch[None, :, None] + margin,
                self.column[:, None, None] + patch[None, None, :] + margin,
            ]
            table = (slot * side + inside[None, :, None]) * side + inside[None, None, :]
            return table.where(slot < self.num_visible, self.num_visible * side * side)

        return self._cached(('window', side, span), build)

    def rulebook(self, side: int, kernel: int, stride: int, padding: int, dilation: int) -> Rulebook:
        """Pairs of input and output rows that a convolution connects, tap by tap.

        A tap without any pair, and the pairs of hidden or off-image pixels, are left out: they are what a
        convolution over halos would multiply with zero.

        Args:
            side: Tile side P of the input; the output's is ``P / stride``.
            kernel: Kernel side K.
            stride: Stride, a divisor of P.
            padding: Zero padding of the dense layer.
            dilation: Dilation.

        Returns:
            For each tap that connects anything: its number ``ky*K + kx``, its input rows and its output rows,
            ``(n,)`` each. No output row occurs twice in a tap, and no input row.
        """

        def build() -> Rulebook:
            reach = dilation * (kernel - 1)
            span = range(-padding, side - stride - padding + reach + 1)
            window = self.window_rows(side, span)
            tiles = window.unfold(1, reach + 1, stride).unfold(2, reach + 1, stride)
            table = tiles[..., ::dilation, ::dilation].reshape(-1, kernel * kernel).T
            outputs = [(rows < self.num_visible * side * side).nonzero().flatten() for rows in table]
            return [(tap, table[tap, out], out) for tap, out in enumerate(outputs) if len(out)]

        return self._cached(('rulebook', side, kernel, stride, padding, dilation), build)

    def _cached(self, key: tuple, build: Callable[[], T]) -> T:
        if key not in self._tables:
            self._tables[key] = build()
        return self._tables[key]
