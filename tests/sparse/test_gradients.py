"""The gradients written by hand, against finite differences."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from hgkd_mm.sparse import PatchMask
from hgkd_mm.sparse.geometry import layer_axes
from hgkd_mm.sparse.packed.conv import HaloConv, RulebookConv
from hgkd_mm.sparse.packed.pool import HaloMaxPool
from hgkd_mm.sparse.packed.rows import with_halo

MASK = PatchMask(torch.tensor([[[1, 1, 0], [0, 1, 1]], [[0, 0, 1], [1, 0, 0]]]).bool(), 8)
GEOMETRIES = [(3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 2, 1), (3, 1, 2, 2), (2, 2, 0, 1), (1, 2, 0, 1)]


def tiles(channels: int, side: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(MASK.num_visible, channels, side, side, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize('geometry', GEOMETRIES)
@pytest.mark.parametrize('groups', [1, 2])
def test_halo_convolution(geometry, groups):
    layer = nn.Conv2d(2, 4, *geometry, groups=groups).double()
    axes = layer_axes(layer, 'layer')
    gradcheck(lambda x, w, b: HaloConv.apply(x, w, b, MASK, axes, groups), (tiles(2, 4), layer.weight, layer.bias))


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_rulebook_convolution(geometry):
    layer = nn.Conv2d(3, 2, *geometry).double()
    rulebook = MASK.rulebook(2, 2, layer_axes(layer, 'layer'))
    rows = torch.randn(MASK.num_visible * 4, 3, dtype=torch.float64, requires_grad=True)
    gradcheck(lambda x, w: RulebookConv.apply(x, w, rulebook), (rows, layer.weight))


@pytest.mark.parametrize('geometry', [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pooling(geometry):
    axes = layer_axes(nn.MaxPool2d(*geometry), 'layer')
    gradcheck(lambda x: HaloMaxPool.apply(x, MASK, axes), (tiles(2, 4),))


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_halos(geometry):
    axes = layer_axes(nn.Conv2d(2, 2, *geometry), 'layer')
    gradcheck(lambda x: with_halo(x, MASK, axes), (tiles(2, 4),))
