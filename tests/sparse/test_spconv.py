"""The spconv backend's own behaviour, and what happens where spconv is missing or wrong."""

import importlib.util

import pytest
import torch

from hgkd_mm.errors import ConfigError, MaskError
from hgkd_mm.sparse import PatchMask, make_sparse
from hgkd_mm.sparse.spconv import library
from hgkd_mm.sparse.spconv.library import has_spconv

from .test_zoo import VISIBLE, build

spconv = pytest.mark.skipif(not has_spconv(), reason='no spconv')


@spconv
def test_under_autocast_it_computes_in_float32():
    net = build('ResNet-18').float()
    net.eval()
    forward = make_sparse(net, 'spconv')
    images, mask = torch.randn(2, 3, 64, 96), PatchMask(VISIBLE, 32)
    with torch.autocast('cpu', torch.bfloat16):
        mixed = forward(images, mask)
    for one, other in zip(mixed, forward(images, mask), strict=True):
        torch.testing.assert_close(one, other, rtol=0.1, atol=0.05 * float(other.detach().abs().max()))


@spconv
def test_a_patch_that_is_no_multiple_of_the_stride_is_refused():
    with pytest.raises(MaskError, match='total stride'):
        make_sparse(build('ResNet-18'), 'spconv')(
            torch.randn(1, 3, 32, 32).double(), PatchMask(torch.ones(1, 2, 2).bool(), 16)
        )


@spconv
@pytest.mark.parametrize('damage', ['output', 'order'])
def test_a_wrong_spconv_is_refused(monkeypatch, damage):
    right = library.convolve

    def wrong(rows, weight, pairs):
        out = right(rows, weight, pairs)
        return out * 1.01 if damage == 'output' else out.flip(0)

    library._check.cache_clear()
    monkeypatch.setattr(library, 'convolve', wrong)
    try:
        with pytest.raises(ConfigError, match='computes wrong numbers on cpu'):
            make_sparse(build('ResNet-18'), 'spconv')
    finally:
        library._check.cache_clear()


def test_a_missing_spconv_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match='the package spconv is not installed'):
        make_sparse(build('ResNet-18'), 'spconv')
