"""Every network of the zoo: packed against masked, all-visible against dense, hidden pixels."""

import copy

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from hgkd_mm.errors import UnsupportedLayerError
from hgkd_mm.sparse import PatchMask, make_sparse
from hgkd_mm.sparse.spconv.library import has_spconv
from hgkd_mm.sparse.zoo import REFUSED, ZOO

QUICK = {'ResNet-18', 'ConvNeXt V2-A', 'MobileNetV3-S', 'RegNetX-400MF', 'ShuffleNetV2'}
VISIBLE = torch.tensor([[[1, 1, 0], [0, 1, 0]], [[0, 0, 1], [1, 0, 1]]], dtype=torch.bool)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    net = MODELS.build(dict(ZOO[name])).double()
    for parameter in net.parameters():  # biases and scales that would show a leak or a wrong statistic
        if parameter.dim() < 2:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def run(net: nn.Module, backend: str, images: torch.Tensor, visible: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run a converted copy forward and backward; see on the way that hidden pixels do not matter."""
    net = copy.deepcopy(net)
    net.train()
    images = images.clone().requires_grad_()
    forward, mask = make_sparse(net, backend), PatchMask(visible, 32)
    torch.manual_seed(1)  # for stochastic depth
    feats = forward(images, mask)
    sum((feat * torch.sin(torch.arange(feat.numel())).view_as(feat)).mean() for feat in feats).backward()
    gradients = {f'gradient of {name}': p.grad for name, p in net.named_parameters() if p.grad is not None}
    scale = max(gradient.abs().max() for gradient in gradients.values())
    results = {
        **{f'stage {i}': feat.detach() for i, feat in enumerate(feats)},
        # A bias before a batch norm has the gradient zero, up to rounding: compared on the scale of all.
        **{name: gradient / scale for name, gradient in gradients.items()},
        'gradient of the images': images.grad,
        **{name: buffer.double().clone() for name, buffer in net.named_buffers()},
    }
    hidden = ~mask.grid(*images.shape[-2:]).expand_as(images)
    assert not images.grad[hidden].any()
    torch.manual_seed(1)
    with torch.no_grad():
        moved = forward(images.masked_fill(hidden, 1e3), mask)
    assert all(torch.equal(one, other) for one, other in zip(moved, feats, strict=True))
    return results


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = 1.0 if name.startswith('gradient of') and 'images' not in name else float(value.abs().max())
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=1e-9 * max(scale, 1e-30), msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize('name', [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in ZOO])
def test_all_backends_are_equal_and_hidden_pixels_change_nothing(name):
    net = build(name)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    masked = run(net, 'masked', images, VISIBLE)
    assert sum(n.startswith('stage') for n in masked) >= 3 and masked['stage 0'].abs().max() > 1e-3
    for backend in ('packed', *(['spconv'] if has_spconv() else [])):
        assert_equal(run(net, backend, images, VISIBLE), masked)


@pytest.mark.parametrize('name', [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in ZOO])
def test_all_visible_equals_the_dense_network(name):
    net = build(name)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    sparse = copy.deepcopy(net)
    forward = make_sparse(sparse)
    for part in (net, sparse):
        part.train()
    feats = forward(images, PatchMask(torch.ones(2, 2, 2, dtype=torch.bool), 32))
    dense = net(images)
    for one, other in zip(feats, dense, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.detach().abs().max()))
    # and without a mask it is the dense one, bit for bit
    sparse.load_state_dict(net.state_dict())
    net.eval(), sparse.eval()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(sparse(images), net(images), strict=True))


@pytest.mark.parametrize('name', REFUSED)
def test_a_network_without_exact_form_is_refused(name):
    with pytest.raises(UnsupportedLayerError, match=r"(layer|module) '"):
        make_sparse(MODELS.build(dict(REFUSED[name])))


def test_another_patch_and_total_stride():
    torch.manual_seed(0)
    arch = dict(embed_dims=8, depth=2, patch_size=7, kernel_size=9)
    net = MODELS.build(dict(type='ConvMixer', arch=arch, out_indices=(0, 1))).double()
    images, mask = torch.randn(2, 3, 28, 42, dtype=torch.float64), PatchMask(VISIBLE, 14)
    feats = [make_sparse(copy.deepcopy(net), backend, patch_size=14)(images, mask) for backend in ('packed', 'masked')]
    assert feats[0][1].shape == (2, 8, 4, 6)
    for one, other in zip(*feats, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='ConvNeXt', arch='atto', drop_path_rate=0.5, out_indices=(0, 1, 2, 3), gap_before_final_norm=False),
        dict(type='ResNet', depth=18, drop_path_rate=0.5, norm_cfg=dict(type='GN', num_groups=4), base_channels=16,
             stem_channels=16, out_indices=(0, 1, 2, 3)),
    ],
)  # fmt: skip
def test_stochastic_depth_drops_images(config, backend):
    torch.manual_seed(0)
    net = MODELS.build(config).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    found = [run_seeded(net, name, images) for name in (backend, 'masked')]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.detach().abs().max()))
    assert any(not torch.equal(a, b) for a, b in zip(run_seeded(net, backend, images, seed=3), found[0], strict=True))


def run_seeded(net: nn.Module, backend: str, images: torch.Tensor, seed: int = 1) -> list[torch.Tensor]:
    net = copy.deepcopy(net)
    net.train()
    forward = make_sparse(net, backend)
    torch.manual_seed(seed)
    return forward(images, PatchMask(VISIBLE, 32))
