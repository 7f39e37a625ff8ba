"""What a network's own code does to its maps is found when it is converted."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hgkd_mm.errors import UnsupportedLayerError
from hgkd_mm.sparse import make_sparse


class Block(nn.Module):
    """A convolution followed by something that no layer shows."""

    def __init__(self, then) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.then = then

    def forward(self, x):
        return self.then(self.conv(x))


class Net(nn.Module):
    """One stage of two blocks."""

    def __init__(self, then) -> None:
        super().__init__()
        self.first, self.second = Block(F.relu), Block(then)

    def forward(self, x):
        return [self.second(self.first(x))]


@pytest.mark.parametrize(
    'then',
    [
        lambda x: x - x.mean((2, 3), keepdim=True),
        lambda x: F.avg_pool2d(x, 3, 1, 1),
        lambda x: F.interpolate(x, scale_factor=2, mode='bilinear'),
        lambda x: F.instance_norm(x),
        lambda x: x.flip(-1),
    ],
)
def test_a_functional_operation_over_positions_is_named_by_its_module(then):
    with pytest.raises(UnsupportedLayerError, match=r"module 'second' \(Block\)"):
        make_sparse(Net(then))


def test_a_pooled_output_of_the_network_itself_is_found():
    class Pooled(Net):
        def forward(self, x):
            x = self.second(self.first(x))
            return [x * x.mean((2, 3), keepdim=True)]

    with pytest.raises(UnsupportedLayerError, match='Pooled'):
        make_sparse(Pooled(F.relu))


def test_code_between_two_modules_is_blamed_on_their_caller():
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(self.conv(x).roll(1, -1))

    net = Net(F.relu)
    net.second = Between()
    with pytest.raises(UnsupportedLayerError, match=r"module 'second' \(Between\)"):
        make_sparse(net)


def test_batch_norm_of_pooled_maps_is_refused():
    # Its statistics weigh images alike; the tiles of a batch do not know how many there are of an image.
    class Gate(nn.Sequential):
        def forward(self, x):
            return x * super().forward(x)

    net = Net(F.relu)
    net.second = Gate(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    with pytest.raises(UnsupportedLayerError, match=r"module 'second' \(Gate\)"):
        make_sparse(net)


def test_an_output_of_another_size_is_refused():
    class Pooled(Net):
        def forward(self, x):
            return [F.adaptive_avg_pool2d(super().forward(x)[0], 1)]

    with pytest.raises(UnsupportedLayerError, match=r'the network itself \(Pooled\)'):
        make_sparse(Pooled(F.relu))


def test_code_that_fails_on_tiles_is_named():
    def wants_the_image(x):
        return x.view(2, 3, 64, 64)

    with pytest.raises(
        UnsupportedLayerError, match=r"module 'second' \(Block\) fails under a mask, packed backend: Runt"
    ):
        make_sparse(Net(wants_the_image))


def test_the_proof_leaves_no_trace():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    wrapped = Net(F.relu)
    wrapped.second = net
    before = {name: value.clone() for name, value in wrapped.state_dict().items()}
    state = torch.get_rng_state()
    make_sparse(wrapped)
    assert torch.equal(torch.get_rng_state(), state)
    assert wrapped.training and wrapped.second[0].weight.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in wrapped.state_dict().items())
