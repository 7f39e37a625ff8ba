"""The theoretical limit: multiply-accumulates that are not with a zero."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..sparse import PatchMask, make_sparse
from ..sparse.zoo import ZOO


@torch.no_grad()
def count_macs(network: nn.Module, visible: Tensor, patch_size: int = 32) -> tuple[int, int]:
    """Count the multiply-accumulates of the convolutions and position-wise linear layers of a forward pass.

    Args:
        network: An ordinary CNN; a copy of it is converted.
        visible: Mask ``(B, Hp, Wp)``.
        patch_size: Side of a patch in pixels.

    Returns:
        Of the dense network, taps over the zero padding included, and those that connect two visible pixels.
    """
    mask = PatchMask(visible, patch_size)
    forward = make_sparse(copy.deepcopy(network), 'masked', patch_size)
    forward.backbone.eval()
    totals = [0, 0]

    def convolution(layer: Any, inputs: tuple[Tensor], out: Tensor) -> None:
        size = inputs[0].shape[-2:]
        if not mask.is_map(*size):
            return
        halos = [axis.halo(side) for axis, side in zip(layer.axes, size, strict=True)]
        where = F.pad(mask.grid(*size).float(), [*halos[1], *halos[0]])
        ones = torch.ones(1, 1, *layer.kernel_size)
        pairs = F.conv2d(where, ones, None, layer.stride, 0, layer.dilation) * mask.grid(*out.shape[-2:])
        channels = layer.in_channels // layer.groups * layer.out_channels
        totals[0] += channels * ones.numel() * out.shape[0] * out.shape[2] * out.shape[3]
        totals[1] += channels * round(pairs.double().sum().item())

    def linear(layer: nn.Linear, inputs: tuple[Tensor], out: Tensor) -> None:
        if out.dim() == 4 and mask.is_map(*out.shape[1:3]):
            channels = layer.in_features * layer.out_features
            totals[0] += channels * out[..., 0].numel()
            totals[1] += channels * int(mask.grid(*out.shape[1:3]).sum())

    for layer in forward.backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(convolution)
        elif isinstance(layer, nn.Linear):
            layer.register_forward_hook(linear)
    batch, rows, columns = visible.shape
    forward(torch.zeros(batch, 3, rows * patch_size, columns * patch_size), mask)
    return totals[0], totals[1]


def limit(model: str, visible: Tensor) -> float:
    """Return how many times fewer multiply-accumulates the visible patches need than the dense network."""
    dense, sparse = count_macs(MODELS.build(dict(ZOO[model])), visible)
    return dense / sparse
