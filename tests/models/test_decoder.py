"""The decoder's use of what the student saw."""

import torch

from hgkd_mm.models import UNetDecoder
from hgkd_mm.sparse import PatchMask


def decoder_and_input():
    torch.manual_seed(0)
    decoder = UNetDecoder([4, 8], [5, 6]).double()
    feats = [torch.randn(2, 4, 8, 8).double(), torch.randn(2, 8, 4, 4).double()]
    visible = torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 1]]], dtype=torch.bool)
    return decoder, feats, PatchMask(visible, 32)


def test_output_has_the_finest_level_s_width_and_size():
    decoder, feats, mask = decoder_and_input()
    assert decoder(feats, mask).shape == (2, 5, 8, 8)


def test_hidden_positions_hold_the_mask_token_not_the_feature():
    decoder, feats, mask = decoder_and_input()
    changed = [feat.masked_fill(~mask.grid(*feat.shape[-2:]), 1e3) for feat in feats]
    assert torch.equal(decoder(feats, mask), decoder(changed, mask))
    assert not torch.equal(decoder(feats, None), decoder(changed, None))


def test_every_stage_and_mask_token_gets_a_gradient():
    decoder, feats, mask = decoder_and_input()
    feats = [feat.requires_grad_() for feat in feats]
    decoder(feats, mask).square().sum().backward()
    for feat in feats:
        seen = mask.grid(*feat.shape[-2:]).expand_as(feat)
        assert feat.grad[seen].abs().min() > 0
        assert not feat.grad[~seen].any()
    assert all(token.grad.abs().sum() > 0 for token in decoder.mask_tokens)
