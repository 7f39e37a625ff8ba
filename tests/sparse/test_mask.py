"""Patch masks and their tables against naive loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgkd_mm.errors import MaskError
from hgkd_mm.sparse import PatchMask


@st.composite
def masks(draw) -> torch.Tensor:
    batch, rows, columns = (draw(st.integers(1, 3)) for _ in range(3))
    bits = draw(st.lists(st.booleans(), min_size=batch * rows * columns, max_size=batch * rows * columns))
    bits[draw(st.integers(0, len(bits) - 1))] = True
    return torch.tensor(bits).view(batch, rows, columns)


@given(masks(), st.sampled_from([1, 2, 4]))
@settings(max_examples=40, deadline=None)
def test_unpack_inverts_pack_and_zeroes_the_rest(visible, side):
    mask = PatchMask(visible, 32)
    batch, rows, columns = visible.shape
    grid = torch.randn(batch, 5, rows * side, columns * side)
    assert torch.equal(mask.unpack(mask.pack(grid)), grid * mask.grid(*grid.shape[-2:]))


@given(
    masks(),
    st.sampled_from(
        [(1, 3, 1, 1, 1), (2, 3, 1, 1, 1), (2, 3, 2, 1, 1), (4, 7, 2, 3, 1), (1, 5, 1, 4, 2), (2, 2, 2, 0, 1)]
    ),
)
@settings(max_examples=40, deadline=None)
def test_rulebook_equals_a_loop_over_pixels(visible, geometry):
    side, kernel, stride, padding, dilation = geometry
    mask = PatchMask(visible, 32)
    rulebook = mask.rulebook(*geometry)
    _, rows, columns = visible.shape
    num_in = mask.num_visible * side * side

    def row_at(image: int, y: int, x: int) -> int:
        if not (0 <= y < rows * side and 0 <= x < columns * side) or not visible[image, y // side, x // side]:
            return num_in
        tile = next(
            v
            for v in range(mask.num_visible)
            if (mask.image[v], mask.row[v], mask.column[v]) == (image, y // side, x // side)
        )
        return (tile * side + y % side) * side + x % side

    number = 0
    pairs = []
    for v in range(mask.num_visible):
        image, top, left = int(mask.image[v]), int(mask.row[v]) * side, int(mask.column[v]) * side
        for oy in range(side // stride):
            for ox in range(side // stride):
                for ky in range(kernel):
                    for kx in range(kernel):
                        y = top + oy * stride - padding + ky * dilation
                        x = left + ox * stride - padding + kx * dilation
                        if (read := row_at(image, y, x)) < num_in:
                            pairs.append((ky * kernel + kx, read, number))
                number += 1
    assert all(len(outputs) for _, _, outputs in rulebook)
    found = [(tap, *pair) for tap, *rows in rulebook for pair in zip(*(r.tolist() for r in rows), strict=True)]
    assert found == sorted(pairs, key=lambda pair: (pair[0], pair[2]))


def test_tables_are_built_once():
    mask = PatchMask(torch.ones(1, 2, 2, dtype=torch.bool), 32)
    assert mask.rulebook(2, 3, 1, 1, 1) is mask.rulebook(2, 3, 1, 1, 1)
    assert mask.grid(4, 4) is mask.grid(4, 4)


@pytest.mark.parametrize(
    ('visible', 'message'),
    [
        (torch.zeros(2, 3, 3, dtype=torch.bool), 'no patch is visible in a batch of 2'),
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
