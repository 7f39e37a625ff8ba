"""On a GPU the backends compute what the masked one does on a CPU."""

import copy

import pytest
import torch

from hgkd_mm.sparse import PatchMask, make_sparse

from .test_zoo import QUICK, VISIBLE, build

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')


def run(net, backend, device):
    net = copy.deepcopy(net).to(device)
    net.train()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(device)
    feats = make_sparse(net, backend)(images, PatchMask(VISIBLE.to(device), 32))
    # in the features' dtype: the sine of whole numbers is float32, in which devices differ
    weights = [torch.sin(torch.arange(feat.numel(), dtype=feat.dtype, device=device)).view_as(feat) for feat in feats]
    sum((feat * weight).mean() for feat, weight in zip(feats, weights, strict=True)).backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    scale = max(gradient.abs().max() for gradient in gradients)
    return [feat.detach().cpu() for feat in feats] + [(gradient / scale).cpu() for gradient in gradients]


@pytest.mark.parametrize('name', sorted({'ResNet-18', 'ResNet-50', 'ConvNeXt-T', *QUICK}))
def test_a_gpu_agrees_with_the_cpu(backend, name):
    net = build(name)
    for layer in net.modules():  # their draws are another device's
        if hasattr(layer, 'drop_prob'):
            layer.drop_prob = 0.0
    for found, expected in zip(run(net, backend, 'cuda'), run(net, 'masked', 'cpu'), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
