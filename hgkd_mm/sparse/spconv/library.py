"""The library spconv: found, checked against ``conv2d``, and its pair tables for a patch mask."""

import functools
import importlib.util
import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import ConfigError
from ..geometry import Axes, Axis
from ..mask import PatchMask

TOLERANCE = 1e-4


class Pairs(NamedTuple):
    """What spconv needs to know about a mask and a layer.

    ``pairs`` and ``counts`` are spconv's own tables, for ``num_out`` output sites. ``visible`` are those of them at
    visible positions, in packed order; None takes all as they are.
    """

    pairs: Tensor
    counts: Tensor
    num_out: int
    submanifold: bool
    visible: Tensor | None


def has_spconv() -> bool:
    """Say whether spconv is installed; there is none for every Python."""
    return importlib.util.find_spec('spconv') is not None


def require_spconv() -> None:
    """See that spconv is there and computes what ``conv2d`` does, on the CPU and on CUDA where there is one.

    Raises:
        ConfigError: It is not installed, or its numbers differ: some builds go wrong without an error.
    """
    if not has_spconv():
        raise ConfigError(
            "sparse backend 'spconv': the package spconv is not installed (spconv-cu120 has no wheel for Python 3.12): "
            "install it, or take the backend 'packed'"
        )
    for device in ('cpu', *(['cuda'] if torch.cuda.is_available() else [])):
        _check(device)


@functools.cache
def _check(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    visible = torch.rand(2, 3, 4, generator=generator) < 0.5
    visible[:, 0, 0] = True
    mask = PatchMask(visible.to(device), 4)
    for stride in (1, 2):
        axis = Axis(3, stride, 1, 1)
        grid = torch.randn(2, 3, 12, 16, generator=generator).to(device) * mask.grid(12, 16)
        weight = torch.randn(5, 3, 3, 3, generator=generator).to(device)
        results = []
        for sparse in (True, False):
            inputs = grid.clone().requires_grad_(), weight.clone().requires_grad_()
            if sparse:
                rows = mask.pack(inputs[0]).permute(0, 2, 3, 1).reshape(-1, 3)
                out = convolve(rows, inputs[1], pairs_of(mask, 4, 4, (axis, axis)))
                tiles = out.view(-1, 4 // stride, 4 // stride, 5).permute(0, 3, 1, 2)
            else:
                tiles = mask.pack(F.conv2d(inputs[0], inputs[1], stride=stride, padding=1))
            weights = torch.sin(torch.arange(tiles.numel(), device=device, dtype=tiles.dtype)).view(tiles.shape)
            gradients = torch.autograd.grad((tiles * weights).sum(), inputs)
            results.append([tiles.detach(), gradients[0] * mask.grid(12, 16), gradients[1]])
        for found, expected in zip(*results, strict=True):
            difference = float((found - expected).abs().max() / expected.abs().max())
            if not difference <= TOLERANCE:
                raise ConfigError(
                    f"sparse backend 'spconv': the installed spconv computes wrong numbers on {device} (stride "
                    f'{stride}: off by {difference:.1g} of the largest): install another build, or take '
                    "the backend 'packed'"
                )


def pairs_of(mask: PatchMask, height: int, width: int, axes: Axes) -> Pairs:
    """Return spconv's tables, made once a mask and layer geometry.

    Args:
        mask: The patch mask.
        height: Tile height of the layer's input.
        width: Tile width of the layer's input.
        axes: Geometry of the layer.
    """

    def build() -> Pairs:
        batch, rows, columns = mask.visible.shape
        size = [rows * height, columns * width]
        # Padding that is wider after the map than before it: spconv pads alike, so let the map end later.
        extra = [max(0, a.halo(side)[1] - a.padding) for a, side in zip(axes, (height, width), strict=True)]
        ops, algo = _spconv()
        # Outputs at the sites of the inputs; of odd kernels, the only ones that spconv does so.
        submanifold = all(
            a.stride == 1 and a.kernel % 2 == 1 and 2 * a.padding == a.dilation * (a.kernel - 1) for a in axes
        )
        out_sites, pairs, counts = ops.get_indice_pairs(
            _sites(mask, *size),
            batch,
            [side + more for side, more in zip(size, extra, strict=True)],
            algo,
            *([getattr(a, key) for a in axes] for key in ('kernel', 'stride', 'padding', 'dilation')),
            [0, 0],
            submanifold,
            False,
        )
        visible = None
        if not submanifold:
            # spconv also has outputs outside of the visible patches; keep ours, in our order.
            out = [rows * (height // axes[0].stride), columns * (width // axes[1].stride)]
            number = torch.full((batch * out[0] * out[1],), len(out_sites), device=out_sites.device)
            image, y, x = out_sites.long().T
            inside = (y < out[0]) & (x < out[1])
            number[((image * out[0] + y) * out[1] + x)[inside]] = inside.nonzero().flatten()
            visible = number[mask.grid_rows(out[0], out[1])]
        return Pairs(pairs, counts, len(out_sites), submanifold, visible)

    return mask.cached(('spconv', height, width, axes), build)


class _Convolve(torch.autograd.Function):
    """spconv's convolution with a backward pass that stays out of autocast too: it has no bfloat16 on CPUs."""

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
        ops, algo = _spconv()
        ctx.save_for_backward(rows, weight)
        ctx.pairs = pairs
        return ops.indice_conv(
            rows, weight, pairs.pairs, pairs.counts, pairs.num_out, False, pairs.submanifold, algo=algo
        )

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        ops, algo = _spconv()
        pairs = ctx.pairs
        with torch.autocast(grad.device.type, enabled=False):
            grad_rows, grad_weight = ops.indice_conv_backward(
                *ctx.saved_tensors, grad, pairs.pairs, pairs.counts, False, pairs.submanifold, algo=algo
            )
        return grad_rows, grad_weight, None


def convolve(rows: Tensor, weight: Tensor, pairs: Pairs) -> Tensor:
    """Convolve ``rows (N, C)`` with ``weight (O, C, Ky, Kx)``: output rows at visible positions ``(N', O)``."""
    out = _Convolve.apply(rows.contiguous(), weight.permute(0, 2, 3, 1).contiguous(), pairs)
    if pairs.visible is None:
        return out
    # An output that no input reaches is zero.
    return torch.cat([out, out.new_zeros(1, out.shape[1])]).index_select(0, pairs.visible)


def _sites(mask: PatchMask, height: int, width: int) -> Tensor:
    """Image, row and column of every visible pixel, in packed order."""
    rows = mask.grid_rows(height, width)
    sites = torch.stack([rows // (height * width), rows // width % height, rows % width], dim=1)
    return sites.int().contiguous()  # not contiguous, and spconv is silently wrong


@functools.cache
def _spconv() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # it uses names that PyTorch is about to drop
        from spconv.core import ConvAlgo
        from spconv.pytorch import ops

    return ops, ConvAlgo.Native
