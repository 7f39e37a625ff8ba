"""Running statistics become those of the images given; nothing else changes."""

import pytest
import torch
from torch import nn

from hgkd_mm.errors import DataError
from hgkd_mm.transfer import reestimate_batchnorm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(0.5))


def test_statistics_are_the_average_over_all_batches():
    net, batches = network(), [torch.randn(8, 3, 6, 6) * s for s in (1, 2, 5)]
    assert reestimate_batchnorm(net, batches) == 1
    with torch.no_grad():
        features = [net[0](batch) for batch in batches]
    means = torch.stack([f.mean((0, 2, 3)) for f in features])
    variances = torch.stack([f.var((0, 2, 3), unbiased=True) for f in features])
    torch.testing.assert_close(net[1].running_mean, means.mean(0))
    torch.testing.assert_close(net[1].running_var, variances.mean(0))


def test_weights_modes_and_momentum_are_left_alone():
    net = network().train()
    net[2].eval()
    before = {name: p.clone() for name, p in net.named_parameters()}
    reestimate_batchnorm(net, [torch.randn(4, 3, 6, 6)])
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
    assert (net.training, net[1].training, net[2].training) == (True, True, False)
    assert net[1].momentum == 0.3


def test_no_images_is_an_error_and_keeps_the_statistics():
    net = network()
    net[1].running_mean.fill_(5)
    with pytest.raises(DataError, match='no images'):
        reestimate_batchnorm(net, [])
    assert (net[1].running_mean == 5).all()


def test_network_without_batchnorm_is_left_alone():
    assert reestimate_batchnorm(nn.Conv2d(3, 4, 3), iter([])) == 0
