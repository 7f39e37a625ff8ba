"""`torch.compile` on a converted network: without a break where no mask is in force, the same numbers under one."""

import pytest
import torch

from hgkd_mm.sparse import PatchMask, make_sparse

from .test_convert import random_visible
from .test_inputs import narrow


@pytest.mark.slow
def test_the_dense_network_compiles_without_a_break():
    net, images = narrow(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    make_sparse(net)
    net.eval()
    found = torch.compile(net, backend='eager', fullgraph=True)(images)
    for one, other in zip(found, net(images), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_under_masks_the_compiled_network_gives_the_same():
    net = narrow()
    forward = make_sparse(net)
    net.eval()
    images = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    masks = [PatchMask(random_visible(2, 3, 4, seed), 32) for seed in (1, 3)]
    expected = [forward(images, mask) for mask in masks]
    forward.backbone = torch.compile(net, backend='eager')
    for mask, stages in zip(masks, expected, strict=True):
        for one, other in zip(forward(images, mask), stages, strict=True):
            torch.testing.assert_close(one, other)
