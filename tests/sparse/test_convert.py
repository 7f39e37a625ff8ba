"""Converted networks against the dense network and against dense-then-mask."""

import copy

import pytest
import torch
from mmpretrain.models import ResNet
from torch import nn

from hgkd_mm.errors import ConfigError, MaskError, UnsupportedLayerError
from hgkd_mm.sparse import PatchMask, make_sparse


def resnet(depth: int, **kwargs) -> ResNet:
    torch.manual_seed(0)
    net = ResNet(depth, out_indices=(0, 1, 2, 3), **kwargs).double()
    for layer in net.modules():  # biases and scales that would show a leak or a wrong statistic
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return net


def random_visible(batch: int, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(batch, rows, columns, generator=generator) < 0.45
    visible[0, 0, 0] = True
    return visible


def features_and_gradients(net, backend, images, visible):
    net = copy.deepcopy(net)
    forward = make_sparse(net, backend)
    feats = forward(images, PatchMask(visible, 32))
    loss = sum((feat * torch.sin(torch.arange(feat.numel()).view_as(feat))).mean() for feat in feats)
    loss.backward()
    gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return feats, gradients, dict(net.named_buffers())


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('training', [True, False])
def test_packed_equals_masked_on_features_gradients_and_statistics(depth, training):
    net = resnet(depth, base_channels=16, stem_channels=16)
    net.train(training)
    images = torch.randn(3, 3, 96, 128, dtype=torch.float64)
    visible = random_visible(3, 3, 4)
    packed, packed_grads, packed_buffers = features_and_gradients(net, 'packed', images, visible)
    masked, masked_grads, masked_buffers = features_and_gradients(net, 'masked', images, visible)
    for one, other in zip(packed, masked, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert packed_grads.keys() == masked_grads.keys() and len(packed_grads) > 50
    for name, gradient in packed_grads.items():
        torch.testing.assert_close(gradient, masked_grads[name], rtol=1e-9, atol=1e-9, msg=name)
    for name, buffer in packed_buffers.items():
        torch.testing.assert_close(buffer, masked_buffers[name], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize('depth', [18, 50])
def test_packed_equals_masked_at_full_width(depth):
    net = resnet(depth)
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    visible = random_visible(2, 7, 7)
    packed, packed_grads, _ = features_and_gradients(net, 'packed', images, visible)
    masked, masked_grads, _ = features_and_gradients(net, 'masked', images, visible)
    for one, other in zip(packed, masked, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for name, gradient in packed_grads.items():
        torch.testing.assert_close(gradient, masked_grads[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize('backend', ['packed', 'masked'])
def test_hidden_pixels_change_nothing(backend):
    net = resnet(18, base_channels=8, stem_channels=8)
    forward = make_sparse(net, backend)
    images = torch.randn(2, 3, 128, 128, dtype=torch.float64)
    mask = PatchMask(random_visible(2, 4, 4), 32)
    hidden = ~mask.grid(128, 128).expand_as(images)
    before = forward(images, mask)
    after = forward(images.masked_scatter(hidden, 1e3 * torch.randn_like(images)), mask)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
        assert not one.masked_select(~mask.grid(*one.shape[-2:])).any()


@pytest.mark.parametrize('backend', ['packed', 'masked'])
@pytest.mark.parametrize('training', [True, False])
def test_all_visible_equals_the_dense_network(backend, training):
    dense = resnet(18, base_channels=8, stem_channels=8)
    dense.train(training)
    sparse = copy.deepcopy(dense)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    feats = make_sparse(sparse, backend)(images, PatchMask(torch.ones(2, 3, 2, dtype=torch.bool), 32))
    for one, other in zip(feats, dense(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('backend', ['packed', 'masked'])
def test_without_a_mask_the_converted_network_is_the_dense_one(backend):
    dense = resnet(18, base_channels=8, stem_channels=8)
    sparse = copy.deepcopy(dense)
    forward = make_sparse(sparse, backend)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    forward(images, PatchMask(random_visible(2, 2, 2), 32))
    dense.eval(), sparse.eval()
    sparse.load_state_dict(dense.state_dict())
    for one, other in zip(sparse(images), dense(images), strict=True):
        assert torch.equal(one, other)


def test_conversion_keeps_names_values_and_identity_of_parameters():
    net = resnet(18)
    before = dict(net.named_parameters())
    state = list(net.state_dict())
    make_sparse(net)
    assert list(net.state_dict()) == state
    assert all(p is before[name] for name, p in net.named_parameters())


def test_number_of_visible_patches_may_differ_between_images():
    net = resnet(18, base_channels=8, stem_channels=8)
    net.eval()
    forward = make_sparse(net)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    visible = torch.tensor([[[1, 0], [0, 0]], [[1, 1], [0, 1]]], dtype=torch.bool)
    together = forward(images, PatchMask(visible, 32))
    for i in range(2):
        alone = forward(images[i : i + 1], PatchMask(visible[i : i + 1], 32))
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], other[i], rtol=1e-9, atol=1e-9)


def test_unknown_backend_is_refused_by_name():
    with pytest.raises(ConfigError, match="'magic'.*packed, masked"):
        make_sparse(resnet(18), 'magic')


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        (nn.Conv2d(3, 3, 3), "'0' \\(Conv2d, kernel 3, stride 1, padding 0 in all"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode='reflect'), "'0'.*reflect"),
        (nn.InstanceNorm2d(3), "'0' \\(InstanceNorm2d\\)"),
        (nn.MaxPool2d(2, 2, 1), "'0'.*not one pixel for each 2"),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), "'0'.*not one pixel for each 2"),
        (nn.MaxPool2d(2, return_indices=True), "'0'.*return_indices"),
        (nn.AdaptiveAvgPool2d(2), "'0' pools to 2"),
        (nn.Upsample(scale_factor=2, mode='bilinear'), "'0' \\(Upsample\\)"),
    ],
)
def test_a_layer_without_exact_form_is_named(layer, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        make_sparse(nn.Sequential(layer))


def test_a_refused_network_stays_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.InstanceNorm2d(3))
    with pytest.raises(UnsupportedLayerError):
        make_sparse(net)
    assert type(net[0]) is nn.Conv2d


def test_a_patch_smaller_than_the_total_stride_is_refused():
    forward = make_sparse(resnet(18, base_channels=8, stem_channels=8))
    with pytest.raises(MaskError, match='total stride'):
        forward(torch.randn(1, 3, 32, 32).double(), PatchMask(torch.ones(1, 2, 2, dtype=torch.bool), 16))
