"""Which patches of each image the student may see, and the index maps that follow from it."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MaskError
from .geometry import Axes

#: Each tap's pairs in a rulebook are filled up to a multiple of this many rows. Matrix products of few different
#: sizes find their compiled kernel again: in bfloat16, oneDNN compiles one for every size it meets, which takes longer
#: than the product.
PAIRS_MULTIPLE = 32


class RowSums(NamedTuple):
    """Sums of rows: row ``i`` of the result adds up the rows ``sources[offsets[i]:offsets[i + 1]]``; zero if none."""

    sources: Tensor
    offsets: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """Add up ``rows (N, C)``: ``(len(offsets), C)``, in one pass and a fixed order; not differentiable."""
        return F.embedding_bag(self.sources, rows.detach(), self.offsets, mode='sum')

    def counts(self) -> Tensor:
        """Return how many rows each row of the result adds up."""
        return self.offsets.diff(append=self.offsets.new_full((1,), len(self.sources)))

    @classmethod
    def gather(cls, sources: Tensor, there: Tensor) -> 'RowSums':
        """Return the sums that take the next of ``sources`` wherever ``there``, and zero elsewhere."""
        return cls(sources.int(), there.cumsum(0, dtype=torch.int32) - there.int())

    @classmethod
    def by_target(cls, sources: Tensor, targets: Tensor, num_targets: int) -> 'RowSums':
        """Return the sums that add row ``sources[i]`` to row ``targets[i]``."""
        counts = torch.bincount(targets, minlength=num_targets)
        return cls(sources[targets.argsort(stable=True)].int(), (counts.cumsum(0) - counts).int())


class Rulebook(NamedTuple):
    """Pairs of input and output rows that a convolution connects, tap by tap.

    ``taps`` has the number ``ky*Kx + kx`` of each tap that connects anything, and where its pairs are among all.
    ``inputs`` and ``outputs`` take a row a pair from the input and output rows, zero for what fills a tap up to
    :data:`PAIRS_MULTIPLE`; ``to_outputs`` and ``to_inputs`` add one row a pair up in the output and input rows.
    """

    taps: list[tuple[int, slice]]
    inputs: RowSums
    outputs: RowSums
    to_outputs: RowSums
    to_inputs: RowSums


T = TypeVar('T')


class PatchMask:
    """A batch of patch masks, with the row tables every packed layer needs.

    The visible patches of a batch are numbered ``0..V-1`` in image, row, column order. A *packed* map is
    ``(V, C, P, Q)``: one tile a visible patch, ``P`` pixels high and ``Q`` wide at that layer. As rows,
    ``(V*P*Q, C)``, pixel ``(y, x)`` of tile ``v`` is row ``(v*P + y)*Q + x``. Tables are built once a mask and
    layer geometry.

    Args:
        visible: Boolean ``(B, Hp, Wp)``, True where the student may see the patch.
        patch_size: Side of a patch in pixels of the image.

    Raises:
        MaskError: The mask is not boolean, not ``(B, Hp, Wp)``, or hides the whole of an image.
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
        blind = (~visible.flatten(1).any(1)).nonzero().flatten().tolist()
        if blind or self.num_visible == 0:
            raise MaskError(f'no patch is visible in image {blind} of a batch of {visible.shape[0]}')
        self._tables: dict[tuple, Any] = {}

    @property
    def num_visible(self) -> int:
        """Number of visible patches V in the whole batch."""
        return len(self.image)

    def check_images(self, images: Tensor) -> None:
        """Raise MaskError unless ``images`` ``(B, C, H, W)`` are what this mask was drawn for."""
        if images.dim() != 4:
            raise MaskError(f'images are (B, C, H, W); found shape {tuple(images.shape)}')
        if images.device != self.visible.device:
            raise MaskError(f'images are on {images.device}, the mask on {self.visible.device}: bring them together')
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

        return self.cached(('grid', height, width), build)

    def pack(self, grid: Tensor) -> Tensor:
        """Gather the visible tiles: ``(B, C, H, W)`` -> ``(V, C, P, Q)``, channels last in memory."""
        _, channels, height, width = grid.shape
        _, rows, columns = self.visible.shape
        pixels = grid.permute(0, 2, 3, 1).reshape(-1, channels)
        tiles = pixels.index_select(0, self.grid_rows(height, width))
        return tiles.view(-1, height // rows, width // columns, channels).permute(0, 3, 1, 2)

    def unpack(self, packed: Tensor) -> Tensor:
        """Put tiles back, zeros in the gaps: ``(V, C, P, Q)`` -> ``(B, C, H, W)``, channels last in memory."""
        batch, rows, columns = self.visible.shape
        channels = packed.shape[1]
        height, width = rows * packed.shape[2], columns * packed.shape[3]
        pixels = packed.permute(0, 2, 3, 1).reshape(-1, channels)
        grid = packed.new_zeros(batch * height * width, channels)
        grid = grid.index_copy_(0, self.grid_rows(height, width), pixels)
        return grid.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def grid_rows(self, height: int, width: int) -> Tensor:
        """Row numbers in ``(B*H*W, C)`` of the pixels of all visible tiles, in packed order: ``(V*P*Q,)``."""

        def build() -> Tensor:
            _, rows, columns = self.visible.shape
            y = torch.arange(height, device=self.visible.device).view(rows, -1)
            x = torch.arange(width, device=self.visible.device).view(columns, -1)
            above = self.image[:, None] * height + y[self.row]
            return (above[:, :, None] * width + x[self.column][:, None, :]).flatten()

        return self.cached(('grid rows', height, width), build)

    def window_rows(self, height: int, width: int, span_y: range, span_x: range) -> Tensor:
        """Row numbers of a window around each tile, for gathering halos.

        Args:
            height: Tile height P at the layer.
            width: Tile width Q at the layer.
            span_y: Pixel coordinates relative to the tile's corner, e.g. ``range(-1, P + 1)``.
            span_x: Likewise from left to right.

        Returns:
            ``(V, len(span_y), len(span_x))`` rows; ``V*P*Q`` stands for a pixel that is hidden or off the image.
        """
        (patch_y, inside_y), (patch_x, inside_x) = (
            (span.div(side, rounding_mode='floor'), span % side)
            for span, side in ((self._coordinates(span_y), height), (self._coordinates(span_x), width))
        )
        margin = max(int(patch_y.abs().max()), int(patch_x.abs().max()))
        slots = F.pad(self._slots(), [margin] * 4, value=self.num_visible)
        near = self._coordinates(range(2 * margin + 1))
        around = slots[
            self.image[:, None, None], self.row[:, None, None] + near[:, None], self.column[:, None, None] + near
        ]
        slot = around.index_select(1, patch_y + margin).index_select(2, patch_x + margin)
        table = slot * (height * width) + (inside_y[:, None] * width + inside_x).int()
        return table.clamp_(max=self.num_visible * height * width)

    def halo(self, height: int, width: int, axes: Axes) -> RowSums:
        """Return the sums that read all tiles with halos from the tiles; none where a pixel is hidden or off the image.

        Args:
            height: Tile height P.
            width: Tile width Q.
            axes: Geometry of the layer that reads them. Where it stops short of the tile's end, the tile is cropped.

        Raises:
            MaskError: The tile is not a whole number of strides.
        """
        spans = self._spans(height, width, axes)

        def build() -> RowSums:
            rows = self.window_rows(height, width, *spans).flatten()
            there = rows < self.num_visible * height * width
            return RowSums.gather(rows.masked_select(there), there)

        return self.cached(('halo', height, width, *spans), build)

    def halo_adjoint(self, height: int, width: int, axes: Axes) -> RowSums:
        """Return the sums that bring each pixel of halos back to the tile it was read from; see :meth:`halo`."""

        def build() -> RowSums:
            read = self.halo(height, width, axes)
            return RowSums.by_target(read.counts().nonzero().flatten(), read.sources, self.num_visible * height * width)

        return self.cached(('halo adjoint', height, width, *self._spans(height, width, axes)), build)

    def halo_gaps(self, height: int, width: int, axes: Axes) -> Tensor:
        """Return the rows of halos that are hidden or off the image; see :meth:`halo`."""

        def build() -> Tensor:
            return (self.halo(height, width, axes).counts() == 0).nonzero().flatten()

        return self.cached(('halo gaps', height, width, *self._spans(height, width, axes)), build)

    @staticmethod
    def _spans(height: int, width: int, axes: Axes) -> list[range]:
        halos = [(axis.halo(side), side) for axis, side in zip(axes, (height, width), strict=True)]
        return [range(-before, side + after) for (before, after), side in halos]

    def rulebook(self, height: int, width: int, axes: Axes) -> Rulebook:
        """Pairs of input and output rows that a convolution connects.

        A tap without any pair, and the pairs of hidden or off-image pixels, are left out: they are what a
        convolution over halos would multiply with zero.

        Args:
            height: Tile height P of the input; the output's is ``P / stride``.
            width: Tile width Q of the input.
            axes: Geometry of the convolution.

        Raises:
            MaskError: The tile is not a whole number of strides.
        """

        def build() -> Rulebook:
            num_rows = self.num_visible * height * width
            tiles = self.window_rows(height, width, *self._spans(height, width, axes))
            for dim, axis in enumerate(axes, 1):
                tiles = tiles.unfold(dim, axis.dilation * (axis.kernel - 1) + 1, axis.stride)
            tiles = tiles[..., :: axes[0].dilation, :: axes[1].dilation]
            table = tiles.reshape(-1, axes[0].kernel * axes[1].kernel).T
            num_out = table.shape[1]
            connected = table < num_rows
            inputs = table.masked_select(connected)
            outputs = torch.arange(num_out, device=table.device).expand_as(table).masked_select(connected)
            counts = connected.sum(1)
            sizes = (counts + PAIRS_MULTIPLE - 1) // PAIRS_MULTIPLE * PAIRS_MULTIPLE
            ends = sizes.cumsum(0)
            there = self._coordinates(range(int(sizes.max()))) < counts[:, None]
            there = there[self._coordinates(range(there.shape[1])) < sizes[:, None]]
            positions = there.nonzero().flatten()
            return Rulebook(
                [
                    (tap, slice(end - size, end))
                    for tap, (end, size) in enumerate(zip(ends.tolist(), sizes.tolist(), strict=True))
                    if size
                ],
                RowSums.gather(inputs, there),
                RowSums.gather(outputs, there),
                RowSums.by_target(positions, outputs, num_out),
                RowSums.by_target(positions, inputs, num_rows),
            )

        return self.cached(('rulebook', height, width, axes), build)

    def is_map(self, height: int, width: int) -> bool:
        """Say whether ``(height, width)`` is a map with this mask on it; a globally pooled 1x1 is not."""
        _, rows, columns = self.visible.shape
        return (height, width) != (1, 1) or (rows, columns) == (1, 1)

    def zero_hidden(self, x: Tensor, channels_last: bool = False) -> Tensor:
        """Zero the hidden positions of ``(B, C, H, W)``, or ``(B, H, W, C)``; what is no map stays as it is."""
        size = x.shape[1:3] if channels_last else x.shape[-2:]
        if x.dim() != 4 or not self.is_map(*size):
            return x
        where = self.grid(*size)
        return x * (where.permute(0, 2, 3, 1) if channels_last else where)

    def sum_by_image(self, values: Tensor) -> Tensor:
        """Add up the tiles of each image: ``(V, ...)`` -> ``(B, ...)``."""
        return values.new_zeros(len(self.visible), *values.shape[1:]).index_add(0, self.image, values)

    def visible_by_image(self) -> Tensor:
        """Number of visible patches of each image: ``(B,)``."""
        return self.cached(('visible by image',), lambda: self.visible.sum((1, 2)))

    def _slots(self) -> Tensor:
        """Number of the tile at each patch ``(B, Hp, Wp)``; ``V`` where it is hidden."""

        def build() -> Tensor:
            slots = torch.full_like(self.visible, self.num_visible, dtype=torch.int32)
            slots[self.visible] = torch.arange(self.num_visible, dtype=slots.dtype, device=slots.device)
            return slots

        return self.cached(('slots',), build)

    def _coordinates(self, span: range) -> Tensor:
        return torch.arange(span.start, span.stop, device=self.visible.device)

    def cached(self, key: tuple, build: Callable[[], T]) -> T:
        """Return what ``build`` makes, made once a mask and ``key``."""
        if key not in self._tables:
            self._tables[key] = build()
        return self._tables[key]
