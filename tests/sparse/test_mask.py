"""Patch masks and their tables against naive loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgkd_mm.errors import MaskError
from hgkd_mm.sparse import PatchMask
from hgkd_mm.sparse.geometry import Axis
from hgkd_mm.sparse.mask import PAIRS_MULTIPLE


@st.composite
def masks(draw) -> torch.Tensor:
    batch, rows, columns = (draw(st.integers(1, 3)) for _ in range(3))
    bits = draw(st.lists(st.booleans(), min_size=batch * rows * columns, max_size=batch * rows * columns))
    visible = torch.tensor(bits).view(batch, rows * columns)
    visible[:, draw(st.integers(0, rows * columns - 1))] = True  # an image shows something
    return visible.view(batch, rows, columns)


@given(masks(), st.sampled_from([1, 2, 4]))
@settings(max_examples=40, deadline=None)
def test_unpack_inverts_pack_and_zeroes_the_rest(visible, side):
    mask = PatchMask(visible, 32)
    batch, rows, columns = visible.shape
    grid = torch.randn(batch, 5, rows * side, columns * side)
    assert torch.equal(mask.unpack(mask.pack(grid)), grid * mask.grid(*grid.shape[-2:]))


GEOMETRIES = [(1, 3, 1, 1, 1), (2, 3, 1, 1, 1), (2, 3, 2, 1, 1), (4, 7, 2, 3, 1), (1, 5, 1, 4, 2), (2, 2, 2, 0, 1)]


@given(masks(), st.sampled_from(GEOMETRIES), st.sampled_from(GEOMETRIES))
@settings(max_examples=30, deadline=None)
def test_rulebook_equals_a_loop_over_pixels(visible, vertical, horizontal):
    (height, *_), (width, *_) = vertical, horizontal
    axes = Axis(*vertical[1:]), Axis(*horizontal[1:])
    mask = PatchMask(visible, 32)
    _, rows, columns = visible.shape
    tiles = {
        (int(i), int(r), int(c)): v for v, (i, r, c) in enumerate(zip(mask.image, mask.row, mask.column, strict=True))
    }
    pairs = []
    number = 0
    for image, row, column in tiles:
        for oy in range(0, height, axes[0].stride):
            for ox in range(0, width, axes[1].stride):
                for ky in range(axes[0].kernel):
                    for kx in range(axes[1].kernel):
                        y = row * height + oy - axes[0].padding + ky * axes[0].dilation
                        x = column * width + ox - axes[1].padding + kx * axes[1].dilation
                        tile = tiles.get((image, y // height, x // width))
                        if tile is not None:
                            read = (tile * height + y % height) * width + x % width
                            pairs.append((ky * axes[1].kernel + kx, number, read))
                number += 1
    book = mask.rulebook(height, width, axes)
    assert sum(where.stop - where.start for _, where in book.taps) == len(book.inputs.offsets)
    assert all((where.stop - where.start) % PAIRS_MULTIPLE == 0 for _, where in book.taps)
    # a row's number as its only value, from 1: zero is what fills up
    reads = book.inputs.of(torch.arange(1.0, len(tiles) * height * width + 1)[:, None])[:, 0]
    outputs = book.outputs.of(torch.arange(1.0, number + 1)[:, None])[:, 0]
    found = [
        (tap, int(output) - 1, int(read) - 1)
        for tap, where in book.taps
        for read, output in zip(reads[where], outputs[where], strict=True)
        if read or output
    ]
    assert found == sorted(pairs)
    values = torch.randn(len(reads), 2, dtype=torch.float64)
    for sums, index, size in ((book.to_outputs, outputs, number), (book.to_inputs, reads, len(tiles) * height * width)):
        expected = torch.zeros(size + 1, 2, dtype=torch.float64).index_add(0, index.long(), values)[1:]
        torch.testing.assert_close(sums.of(values), expected)


def test_tables_are_built_once():
    mask = PatchMask(torch.ones(1, 2, 2, dtype=torch.bool), 32)
    axes = Axis(3, 1, 1, 1), Axis(3, 1, 1, 1)
    assert mask.rulebook(2, 2, axes) is mask.rulebook(2, 2, axes)
    assert mask.grid(4, 4) is mask.grid(4, 4)


@pytest.mark.parametrize(
    ('visible', 'message'),
    [
        (torch.zeros(2, 3, 3, dtype=torch.bool), r'no patch is visible in image \[0, 1\] of a batch of 2'),
        (torch.tensor([[[True]], [[False]]]), r'no patch is visible in image \[1\] of a batch of 2'),
        (torch.ones(3, 3, dtype=torch.bool), r'boolean tensor \(B, Hp, Wp\); found torch.bool of shape \(3, 3\)'),
        (torch.ones(1, 3, 3), 'found torch.float32'),
    ],
)
def test_wrong_masks_are_refused(visible, message):
    with pytest.raises(MaskError, match=message):
        PatchMask(visible, 32)


def test_images_of_another_size_are_refused():
    mask = PatchMask(torch.ones(1, 3, 4, dtype=torch.bool), 32)
    mask.check_images(torch.zeros(1, 3, 96, 128))
    with pytest.raises(MaskError, match=r'\(1, 128, 128\).*3x4 patches of 32 px.*expected \(1, 96, 128\)'):
        mask.check_images(torch.zeros(1, 3, 128, 128))
    with pytest.raises(MaskError, match=r'images are \(B, C, H, W\); found shape \(3, 96, 128\)'):
        mask.check_images(torch.zeros(3, 96, 128))
    with pytest.raises(MaskError, match='images are on meta, the mask on cpu'):
        mask.check_images(torch.zeros(1, 3, 96, 128, device='meta'))
