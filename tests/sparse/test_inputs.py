"""Sizes, patches, precisions and memory formats that an image batch may come in."""

import pytest
import torch
from mmpretrain.models import ResNet

from hgkd_mm.sparse import PatchMask, make_sparse

from .test_convert import features_and_gradients, random_visible, resnet


def narrow(depth: int = 18) -> ResNet:
    return resnet(depth, base_channels=8, stem_channels=8)


@pytest.mark.parametrize(
    ('height', 'width', 'patch_size'),
    [(128, 128, 32), (96, 160, 32), (128, 192, 64), (384, 96, 96), (256, 512, 128), (512, 512, 32)],
)
def test_any_image_and_patch_size(height, width, patch_size, backend):
    visible = random_visible(2, height // patch_size, width // patch_size)
    visible[1, -1, -1] = True
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    results = []
    for name in (backend, 'masked'):
        net = narrow()
        feats = make_sparse(net, name, patch_size)(images, PatchMask(visible, patch_size))
        torch.stack([feat.square().mean() for feat in feats]).sum().backward()
        results.append([*feats, *(p.grad for p in net.parameters())])
    assert results[0][3].shape[-2:] == (height // 32, width // 32)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_channels_last_images_and_weights_give_the_same(backend):
    images, mask = torch.randn(2, 3, 96, 128, dtype=torch.float64), PatchMask(random_visible(2, 3, 4, 1), 32)
    plain = make_sparse(narrow(50), backend)(images, mask)
    net = narrow(50).to(memory_format=torch.channels_last)
    found = make_sparse(net, backend)(images.to(memory_format=torch.channels_last), mask)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16', 'autocast'])
def test_lower_precision_rounds_and_does_no_more(precision, backend):
    if backend == 'spconv' and precision == 'bfloat16':
        pytest.skip('spconv has no bfloat16')
    visible = random_visible(4, 3, 4, 1)
    images = torch.randn(4, 3, 96, 128, dtype=torch.float64)
    exact, exact_grads, _ = features_and_gradients(narrow(), 'masked', images, visible)
    dtype = torch.bfloat16 if precision == 'bfloat16' else torch.float32
    with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'autocast'):
        feats, grads, _ = features_and_gradients(narrow().to(dtype), backend, images.to(dtype), visible)
    tolerance = 1e-4 if precision == 'float32' else 0.1
    assert feats[0].dtype == (torch.float32 if precision == 'float32' else torch.bfloat16) or backend == 'spconv'
    for one, other in zip(feats, exact, strict=True):
        assert ((one - other).norm() / other.norm()).item() < tolerance
        assert not one.masked_select(~PatchMask(visible, 32).grid(*one.shape[-2:])).any()
    # of the last stage, where nothing has added up yet
    name = 'layer4.1.conv2.weight'
    assert ((grads[name] - exact_grads[name]).norm() / exact_grads[name].norm()).item() < 2 * tolerance
