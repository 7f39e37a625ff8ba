"""Counting of multiply-accumulates against a count by brute force."""

import torch
from torch import nn

from hgkd_mm.speed.macs import count_macs, limit


class Net(nn.Module):
    """Two convolutions, one of them strided and grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2)

    def forward(self, x):
        return [self.second(self.first(x))]


def test_only_pairs_of_visible_pixels_count():
    visible = torch.tensor([[[1, 1, 0], [0, 0, 1]]], dtype=torch.bool)
    pixels = visible[0].repeat_interleave(4, 0).repeat_interleave(4, 1)
    dense = sparse = 0
    for kernel, stride, padding, channels in (((3, 3), 1, (1, 1), 3 * 4), ((3, 5), 2, (1, 2), 2 * 6)):
        source = pixels if stride == 1 else pixels
        for y in range(0, 8, stride):
            for x in range(0, 12, stride):
                for ky in range(kernel[0]):
                    for kx in range(kernel[1]):
                        dense += channels
                        iy, ix = y - padding[0] + ky, x - padding[1] + kx
                        if pixels[y, x] and 0 <= iy < 8 and 0 <= ix < 12 and source[iy, ix]:
                            sparse += channels
    assert count_macs(Net(), visible, patch_size=4) == (dense, sparse)


def test_the_limit_of_resnet_18_lies_between_the_visible_share_and_the_zero_padding_s_gain():
    visible = torch.zeros(2, 4, 4, dtype=torch.bool)
    visible[:, 1:3, 1:3] = True
    assert 4 < limit('ResNet-18', visible) < 8
