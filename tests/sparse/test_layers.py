"""Single layers of random geometry, in every backend, against the dense layer on the masked map."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmpretrain.models.backbones.hornet import HorNetLayerNorm
from mmpretrain.models.utils.norm import GRN, LayerNorm2d
from torch import Tensor, nn

from hgkd_mm.errors import UnsupportedLayerError
from hgkd_mm.sparse import PatchMask
from hgkd_mm.sparse.context import SparseContext
from hgkd_mm.sparse.geometry import layer_axes
from hgkd_mm.sparse.masked import MASKED_LAYERS
from hgkd_mm.sparse.packed import PACKED_LAYERS
from hgkd_mm.sparse.spconv import SPCONV_LAYERS
from hgkd_mm.sparse.spconv.library import has_spconv

#: Values are drawn by PyTorch, so a busy machine must not look like a slow strategy.
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Converted(nn.Module):
    """A converted copy of a layer, always under one mask."""

    def __init__(self, layer: nn.Module, table: dict, mask: PatchMask) -> None:
        super().__init__()
        self.layer, self.mask = copy.deepcopy(layer), mask
        if hasattr(layer, 'kernel_size'):
            self.layer.axes = layer_axes(layer, 'layer')
        self.layer.__class__ = table.get(type(layer), type(layer))  # some are exact as they are
        self.layer.sparse_context = SparseContext()

    def forward(self, *args: Tensor) -> Tensor:
        with self.layer.sparse_context.use(self.mask):
            return self.layer(*args)


@st.composite
def masks(draw) -> PatchMask:
    batch, rows, columns = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    bits = draw(st.lists(st.booleans(), min_size=batch * rows * columns, max_size=batch * rows * columns))
    visible = torch.tensor(bits).view(batch, rows, columns)
    visible[:, -1, 0] = True
    return PatchMask(visible, 8)


def axis(draw) -> tuple[int, int, int, int]:
    return draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 4])), draw(st.integers(0, 4)), draw(st.integers(1, 2))


@st.composite
def convolutions(draw) -> nn.Conv2d:
    (k1, s1, p1, d1), (k2, s2, p2, d2) = axis(draw), axis(draw)
    inputs, outputs, groups = draw(st.sampled_from([(2, 3, 1), (4, 4, 4), (4, 2, 2), (3, 6, 3)]))
    kind = draw(st.sampled_from(['fixed', 'fixed', 'same', 'adaptive']))
    bias = draw(st.booleans())
    if kind == 'adaptive':
        return Conv2dAdaptivePadding(inputs, outputs, (k1, k2), (s1, s2), 0, (d1, d2), groups, bias)
    if kind == 'same':
        return nn.Conv2d(inputs, outputs, (k1, k2), 1, 'same', (d1, d2), groups, bias)
    return nn.Conv2d(inputs, outputs, (k1, k2), (s1, s2), (p1, p2), (d1, d2), groups, bias)


def call(net: nn.Module, x: Tensor) -> Tensor:
    return net(x)


def check(layer: nn.Module, mask: PatchMask, side: int, channels: int, reference, shift: float = 0, apply=call) -> None:
    """Compare all backends with ``reference(layer, masked map)``: outputs, and gradients of a random loss."""
    torch.manual_seed(0)
    _, rows, columns = mask.visible.shape
    grid = torch.randn(len(mask.visible), channels, rows * side, columns * side, dtype=torch.float64) + shift
    grid = mask.zero_hidden(grid).requires_grad_()
    results = []
    for table in (None, MASKED_LAYERS, PACKED_LAYERS, *([SPCONV_LAYERS] if has_spconv() else [])):
        net = copy.deepcopy(layer) if table is None else Converted(layer, table, mask)
        if table is None:
            out = mask.zero_hidden(reference(net, grid))
        elif table is MASKED_LAYERS:
            out = apply(net, grid)
        else:
            out = mask.unpack(apply(net, mask.pack(grid)))
        weights = torch.sin(torch.arange(out.numel(), dtype=torch.float64)).view_as(out)
        parameters = list(net.parameters())
        gradients = torch.autograd.grad((out * weights).sum(), [grid, *parameters])
        results.append([out, mask.zero_hidden(gradients[0]), *gradients[1:]])
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@given(masks(), convolutions(), st.sampled_from([1, 2, 4, 8]))
@settings(SETTINGS, max_examples=150)
def test_convolution_of_any_geometry(mask, layer, side):
    try:
        axes = layer_axes(layer, 'layer')
    except UnsupportedLayerError:
        # refused: the dense layer's output is indeed not aligned
        out = layer(torch.zeros(1, layer.in_channels, 8, 8)) if _fits(layer) else None
        assert out is None or out.shape[-2:] != (8 // layer.stride[0], 8 // layer.stride[1])
        return
    assume(all(side % a.stride == 0 for a in axes))
    check(layer.double(), mask, side, layer.in_channels, call)


def _fits(layer: nn.Conv2d) -> bool:
    return all(
        8 + 2 * (p if isinstance(p, int) else 0) > d * (k - 1)
        for k, p, d in zip(layer.kernel_size, layer.padding, layer.dilation, strict=False)
    )


@given(
    masks(),
    st.sampled_from(
        [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 4, 0), (5, 1, 2), (1, 2, 0), (3, 4, 0), ((3, 1), (2, 1), (1, 0)),
         (2, 2, 0, True), (3, 2, 0, True)]
    ),
)  # fmt: skip
@settings(SETTINGS, max_examples=60)
def test_max_pooling_never_picks_a_hidden_pixel(mask, geometry):
    def reference(net: nn.Module, x: Tensor) -> Tensor:
        return F.max_pool2d(x.masked_fill(~mask.grid(*x.shape[-2:]), -1e9), *geometry[:3], ceil_mode=len(geometry) > 3)

    pool = nn.MaxPool2d(*geometry[:3], ceil_mode=len(geometry) > 3)
    check(pool, mask, 4, 2, reference, shift=-10)  # a zero would win


@given(
    masks(),
    st.sampled_from(
        [(2, 2, 0, False), (2, 2, 0, True), (3, 2, 1, False), (3, 1, 1, False), (4, 4, 0, True), (3, 2, 0, True),
         ((1, 3), 1, (0, 1), False)]
    ),
    st.booleans(),
)  # fmt: skip
@settings(SETTINGS, max_examples=60)
def test_average_pooling_counts_hidden_pixels_as_zeros(mask, geometry, count_include_pad):
    kernel, stride, padding, ceil_mode = geometry
    layer = nn.AvgPool2d(kernel, stride, padding, ceil_mode, count_include_pad)
    check(layer, mask, 4, 3, call)


@given(masks(), st.integers(1, 4))
@settings(SETTINGS, max_examples=40)
def test_global_pooling_is_the_mean_of_each_image_s_visible_pixels(mask, side):
    _, rows, columns = mask.visible.shape
    grid = torch.randn(len(mask.visible), 3, rows * side, columns * side, dtype=torch.float64)
    expected = torch.stack(
        [
            image[:, where].mean(1)
            for image, where in zip(grid, mask.grid(rows * side, columns * side)[:, 0], strict=True)
        ]
    )
    layer = nn.AdaptiveAvgPool2d((1, 1))
    masked = Converted(layer, MASKED_LAYERS, mask)(grid)
    packed = Converted(layer, PACKED_LAYERS, mask)(mask.pack(grid))
    torch.testing.assert_close(masked[..., 0, 0], expected)
    torch.testing.assert_close(packed[..., 0, 0], expected[mask.image])


@given(masks(), st.sampled_from([1, 2, 3, 6]), st.integers(2, 3))
@settings(SETTINGS, max_examples=40)
def test_group_norm_has_the_statistics_of_each_image_s_visible_pixels(mask, groups, side):
    layer = nn.GroupNorm(groups, 6).double()
    nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)

    def reference(net: nn.GroupNorm, x: Tensor) -> Tensor:
        out = []
        for image, where in zip(x, mask.grid(*x.shape[-2:])[:, 0], strict=True):
            values = image[:, where].view(groups, -1)
            values = (values - values.mean(1, keepdim=True)) / (
                values.var(1, unbiased=False, keepdim=True) + net.eps
            ).sqrt()
            values = values.view(6, -1) * net.weight[:, None] + net.bias[:, None]
            out.append(torch.zeros_like(image).masked_scatter(where.expand_as(image), values))
        return torch.stack(out)

    check(layer, mask, side, 6, reference)


def by_image(mask: PatchMask, kernel: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    """Lift a function of an image's visible pixels ``(n, C)`` to masked maps."""

    def reference(net: nn.Module, x: Tensor) -> Tensor:
        seen = mask.grid(*x.shape[-2:])[:, 0]
        images = [kernel(net, image[:, where].T).T for image, where in zip(x, seen, strict=True)]
        return torch.stack(
            [
                values.new_zeros(len(values), *where.shape).masked_scatter(where, values)
                for where, values in zip(seen, images, strict=True)
            ]
        )

    return reference


def layer_norm(net: nn.Module, pixels: Tensor) -> Tensor:
    centred = pixels - pixels.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + net.eps).sqrt() * net.weight + net.bias


def response_norm(net: GRN, pixels: Tensor) -> Tensor:
    norms = pixels.square().sum(0).sqrt()
    return net.gamma * (pixels * norms / (norms.mean() + net.eps)) + net.beta + pixels


@given(
    masks(),
    st.integers(1, 3),
    st.sampled_from(['LN2d', 'LN2d last', 'LN last', 'HorNet', 'HorNet last', 'GRN', 'GRN last']),
)
@settings(SETTINGS, max_examples=80)
def test_norms_over_channels_and_images_see_visible_pixels_alone(mask, side, kind):
    last = kind.endswith('last')
    layer = {
        'LN2': lambda: LayerNorm2d(4),
        'LN ': lambda: nn.LayerNorm(4),
        'Hor': lambda: HorNetLayerNorm(4, data_format='channels_last' if last else 'channels_first'),
        'GRN': lambda: GRN(4),
    }[kind[:3]]().double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    kernel = response_norm if kind.startswith('GRN') else layer_norm
    arguments = ('channel_last',) if kind in ('LN2d last', 'GRN last') else ()

    def apply(net: nn.Module, x: Tensor) -> Tensor:
        if not last:
            return net(x)
        return net(x.permute(0, 2, 3, 1), *arguments).permute(0, 3, 1, 2)

    check(layer, mask, side, 4, by_image(mask, kernel), apply=apply)


@pytest.mark.parametrize('table', [MASKED_LAYERS, PACKED_LAYERS])
def test_global_pooling_keeps_its_digits_in_bfloat16(table):
    mask = PatchMask(torch.ones(1, 16, 16, dtype=torch.bool), 8)
    grid = (torch.rand(1, 2, 64, 64) + 1).bfloat16()
    net = Converted(nn.AdaptiveAvgPool2d(1), table, mask)
    found = net(mask.pack(grid) if table is PACKED_LAYERS else grid)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found[0, :, 0, 0], grid.double().mean((0, 2, 3)).bfloat16(), rtol=2**-7, atol=0)


@given(masks(), st.sampled_from(['sequence', 'map']))
@settings(SETTINGS, max_examples=20)
def test_linear_layers_over_channels_leave_hidden_positions_zero(mask, layout):
    def apply(net: nn.Module, x: Tensor) -> Tensor:
        if layout == 'map':
            return net(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return net(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])

    check(nn.Linear(3, 5).double(), mask, 2, 3, by_image(mask, call), apply=apply)
