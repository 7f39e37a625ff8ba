"""Tokens over patches of another size, against pixels."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.models.teachers import visible_tokens

sides = st.integers(1, 8)


@given(sides, sides, sides, sides, st.integers(0, 2**16))
def test_a_token_is_visible_if_all_of_its_pixels_are(rows, columns, height, width, seed):
    visible = torch.rand(2, rows, columns, generator=torch.Generator().manual_seed(seed)) < 0.7
    pixels = visible.repeat_interleave(height, 1).repeat_interleave(width, 2)  # rows*height x columns*width
    tokens = pixels.view(2, height, rows, width, columns).all(4).all(2)
    assert torch.equal(visible_tokens(visible, (height, width)), tokens)


def test_patches_of_32_px_over_tokens_of_14_px():
    visible = torch.zeros(1, 7, 7, dtype=torch.bool)
    visible[0, 0, 0] = True  # pixels 0..31: tokens 0..13 and 14..27 are in it, 28..41 is not
    assert visible_tokens(visible, (16, 16))[0].nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
