"""Converted networks against the dense network and against dense-then-mask."""

import copy

import pytest
import torch
from mmpretrain.models import ResNet
from mmpretrain.registry import MODELS
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
def test_backends_equal_masked_on_features_gradients_and_statistics(depth, training, backend):
    net = resnet(depth, base_channels=16, stem_channels=16)
    net.train(training)
    images = torch.randn(3, 3, 96, 128, dtype=torch.float64)
    visible = random_visible(3, 3, 4)
    packed, packed_grads, packed_buffers = features_and_gradients(net, backend, images, visible)
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


def test_zero_filled_is_the_dense_network_on_images_with_zeros():
    net = resnet(18, base_channels=8, stem_channels=8)
    images, visible = torch.randn(2, 3, 128, 128, dtype=torch.float64), random_visible(2, 4, 4)
    mask = PatchMask(visible, 32)
    plain, dense = copy.deepcopy(net), copy.deepcopy(net)
    found = make_sparse(net, 'zero-filled')(images, mask)
    pixels = visible.repeat_interleave(32, 1).repeat_interleave(32, 2)[:, None]
    for feat, whole in zip(found, dense(torch.where(pixels, images, 0.0)), strict=True):
        step = 32 * feat.shape[-1] // 128
        where = visible.repeat_interleave(step, 1).repeat_interleave(step, 2)[:, None]
        torch.testing.assert_close(feat, torch.where(where, whole, 0.0), rtol=0, atol=0)
    assert [type(layer) for layer in net.modules()] == [type(layer) for layer in plain.modules()]
    for name, statistic in net.named_buffers():  # over hidden positions as well
        assert torch.equal(statistic, dense.get_buffer(name))
    exact = make_sparse(plain, 'masked')(images, mask)
    for feat, other in zip(found, exact, strict=True):  # what the hidden places hold has reached the visible ones
        assert (feat - other).abs().max() > 0.1 * other.abs().max()


def test_an_unknown_backend_is_named_with_the_choices():
    with pytest.raises(ConfigError, match="backend 'dense': choose one of packed, spconv, masked, zero-filled"):
        make_sparse(resnet(18, base_channels=8, stem_channels=8), 'dense')


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


@pytest.mark.parametrize('training', [True, False])
def test_all_visible_equals_the_dense_network(backend, training):
    dense = resnet(18, base_channels=8, stem_channels=8)
    dense.train(training)
    sparse = copy.deepcopy(dense)
    images = torch.randn(2, 3, 96, 64, dtype=torch.float64)
    feats = make_sparse(sparse, backend)(images, PatchMask(torch.ones(2, 3, 2, dtype=torch.bool), 32))
    for one, other in zip(feats, dense(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('training', [True, False])
def test_without_a_mask_the_converted_network_is_the_dense_one(backend, dtype, training):
    dense = resnet(18, base_channels=8, stem_channels=8).to(dtype)
    sparse = copy.deepcopy(dense)
    forward = make_sparse(sparse, backend)
    images = torch.randn(2, 3, 64, 64, dtype=dtype)
    forward(images, PatchMask(random_visible(2, 2, 2), 32))
    sparse.load_state_dict(dense.state_dict())
    dense.train(training), sparse.train(training)
    results = []
    for net in (sparse, dense):
        stages = net(images)
        torch.stack([stage.square().mean() for stage in stages]).sum().backward()
        results.append([*stages, *(parameter.grad for parameter in net.parameters()), *net.buffers()])
    for one, other in zip(*results, strict=True):
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
    with pytest.raises(ConfigError, match="'magic'.*packed, spconv, masked"):
        make_sparse(resnet(18), 'magic')


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        (nn.Conv2d(3, 3, 3), "'0' \\(Conv2d, kernel 3, stride 1, padding 0 in all"),
        (nn.Conv2d(3, 3, 3, padding=1, padding_mode='reflect'), "'0'.*reflect"),
        (nn.InstanceNorm2d(3), "'0' \\(InstanceNorm2d\\)"),
        (nn.MaxPool2d(2, 2, 1), "'0'.*not one pixel for each 2"),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), "'0'.*not one pixel for each 2"),
        (nn.AvgPool2d(2, divisor_override=3), "'0'.*divisor_override"),
        (nn.LayerNorm([3, 64, 64]), "'0' normalises over positions"),
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


def test_a_pooled_output_is_refused_by_its_number():
    net = MODELS.build(dict(type='ConvNeXt', arch='atto', out_indices=(0, 1)))
    with pytest.raises(UnsupportedLayerError, match='output 0 .* 2 dimensions.*gap_before_final_norm=False'):
        make_sparse(net)


def test_a_bare_output_is_one_stage():
    images, mask = torch.randn(2, 3, 64, 64), PatchMask(random_visible(2, 2, 2), 32)
    (stage,) = make_sparse(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)))(images, mask)
    assert stage.shape == (2, 4, 64, 64)


def test_sync_batch_norm_of_a_config_has_the_statistics_of_visible_pixels(backend):
    plain, synced = (
        MODELS.build(dict(type='ResNet', depth=18, norm_cfg=dict(type=kind), out_indices=(0, 1, 2, 3)))
        for kind in ('BN', 'SyncBN')
    )
    synced.load_state_dict(plain.state_dict())
    images, mask = torch.randn(2, 3, 64, 64), PatchMask(random_visible(2, 2, 2), 32)
    for one, other in zip(*(make_sparse(net, backend)(images, mask) for net in (plain, synced)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_layer_that_was_replaced_after_the_conversion_is_named():
    forward = make_sparse(resnet(18, base_channels=8, stem_channels=8), 'masked')
    forward.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(forward.backbone)
    with pytest.raises(UnsupportedLayerError, match="layer 'bn1' has become an ordinary SyncBatchNorm"):
        forward(torch.randn(1, 3, 64, 64).double(), PatchMask(torch.ones(1, 2, 2, dtype=torch.bool), 32))


@pytest.mark.parametrize('make', [lambda: nn.AdaptiveAvgPool2d(1), lambda: nn.GroupNorm(1, 4), lambda: nn.MaxPool2d(1)])
def test_a_globally_pooled_map_has_no_mask(make, backend):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.then = nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), make()

        def forward(self, x):
            x = self.conv(x)
            return [x * self.then(self.pool(x))]

    torch.manual_seed(0)
    net = Gated()
    images, visible = torch.randn(2, 3, 64, 64), random_visible(2, 2, 2)
    (found,) = make_sparse(copy.deepcopy(net), backend)(images, PatchMask(visible, 32))
    where = PatchMask(visible, 32).grid(64, 64)
    maps = net.conv(images * where) * where
    means = maps.sum((2, 3), keepdim=True) / where.sum((2, 3), keepdim=True)
    torch.testing.assert_close(found, maps * net.then(means))
