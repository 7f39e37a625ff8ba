"""The decoder's use of what the student saw."""

import pytest
import torch

from hgkd_mm.models import UNetDecoder
from hgkd_mm.sparse import PatchMask


def decoder_and_input(out_level: int = 0):
    torch.manual_seed(0)
    decoder = UNetDecoder([4, 8, 3], [5, 6, 7][out_level:], out_level).double()
    feats = [torch.randn(2, channels, side, side).double() for channels, side in ((4, 16), (8, 8), (3, 4))]
    visible = torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 1]]], dtype=torch.bool)
    return decoder, feats, PatchMask(visible, 32)


@pytest.mark.parametrize(('out_level', 'shape'), [(0, (2, 5, 16, 16)), (1, (2, 6, 8, 8)), (2, (2, 7, 4, 4))])
def test_output_has_width_and_size_of_its_level(out_level, shape):
    decoder, feats, mask = decoder_and_input(out_level)
    assert decoder(feats, mask).shape == shape


@pytest.mark.parametrize('out_level', [0, 1])
def test_hidden_positions_hold_the_mask_token_not_the_feature(out_level):
    decoder, feats, mask = decoder_and_input(out_level)
    changed = [feat.masked_fill(~mask.grid(*feat.shape[-2:]), 1e3) for feat in feats]
    assert torch.equal(decoder(feats, mask), decoder(changed, mask))
    assert not torch.equal(decoder(feats, None), decoder(changed, None))


@pytest.mark.parametrize('out_level', [0, 1])
def test_every_stage_and_mask_token_gets_a_gradient(out_level):
    decoder, feats, mask = decoder_and_input(out_level)
    feats = [feat.requires_grad_() for feat in feats]
    decoder(feats, mask).square().sum().backward()
    for feat in feats:
        seen = mask.grid(*feat.shape[-2:]).expand_as(feat)
        assert feat.grad[seen].abs().min() > 0
        assert not feat.grad[~seen].any()
    assert all(token.grad.abs().sum() > 0 for token in decoder.mask_tokens)
