"""Make an ordinary CNN sparse, in place, without renaming a parameter."""

import copy
from typing import Any

from mmcv.cnn.bricks import DropPath, HSigmoid, Swish, wrappers
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from mmpretrain.models.backbones.hornet import HorNetLayerNorm
from mmpretrain.models.utils.layer_scale import LayerScale
from torch import nn

from ..errors import ConfigError, UnsupportedLayerError
from .checkpointing import take_over_checkpointing
from .context import SparseContext
from .forward import SparseForward
from .geometry import layer_axes
from .masked import MASKED_LAYERS
from .packed import PACKED_LAYERS
from .packed.conv import lay_out_by_tap
from .proof import prove
from .spconv import SPCONV_LAYERS
from .spconv.library import require_spconv

#: Per backend: the class that takes an ordinary layer's place.
BACKENDS: dict[str, dict[type[nn.Module], type[nn.Module]]] = {
    'packed': PACKED_LAYERS,
    'spconv': SPCONV_LAYERS,
    'masked': MASKED_LAYERS,
}

#: Not sparse: the dense network sees zeros where pixels are hidden. What sparse convolution is compared with.
ZERO_FILLED = 'zero-filled'

#: Subclasses that compute what their base does: OpenMMLab's, for other versions of PyTorch.
SAME_AS: dict[type[nn.Module], type[nn.Module]] = {
    wrappers.Conv2d: nn.Conv2d,
    wrappers.MaxPool2d: nn.MaxPool2d,
    wrappers.Linear: nn.Linear,
    SyncBatchNorm: nn.SyncBatchNorm,
}

#: Layers that treat every position alike and keep zero at zero: exact as they are.
POSITIONWISE = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Hardswish,
    nn.Hardtanh, nn.Dropout, Swish, DropPath, LayerScale,
)  # fmt: skip

#: Exact as they are in the packed backend, where only visible positions exist.
PACKED_AS_THEY_ARE = (
    nn.BatchNorm2d, nn.SyncBatchNorm, nn.LayerNorm, HorNetLayerNorm, nn.Linear, nn.Sigmoid, nn.Hardsigmoid, HSigmoid,
)  # fmt: skip

#: Layers whose geometry must be aligned with the patches.
WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def make_sparse(backbone: nn.Module, backend: str = 'packed', patch_size: int = 32) -> SparseForward:
    """Make the layers of ``backbone`` that look at neighbours ask for a mask, in place.

    A layer's class becomes a subclass of itself: parameters, their names and the layer's settings stay, and the
    backbone called as usual is the dense network. The conversion proves itself first: a small random case must come
    out the same in the packed backend, which never sees a hidden pixel, and in the masked one.

    ``'zero-filled'`` is the ablation of all that: nothing is converted or proven, and any CNN will do.

    Args:
        backbone: An ordinary CNN whose forward returns its stages, such as mmpretrain's ``ResNet``.
        backend: ``'packed'`` (visible patches only), ``'spconv'`` (the same with spconv's convolutions) or ``'masked'``
            (dense, then masked: the reference), which agree; or ``'zero-filled'``, the dense network on images whose
            hidden pixels are zero: only its stages are masked, so what a layer makes of hidden pixels reaches visible
            ones, and BatchNorm counts all positions.
        patch_size: Side of the patches of the proof, in pixels: a multiple of the network's total stride.

    Returns:
        The callable that runs the backbone under a mask.

    Raises:
        ConfigError: Unknown backend, or an spconv that is missing or wrong.
        UnsupportedLayerError: A layer, or something that a module does to its maps, has no exact sparse form; names it
            and its path. The backbone is as it was.
    """
    if backend == ZERO_FILLED:
        return SparseForward(backbone, SparseContext(), backend, {})
    if backend not in BACKENDS:
        choices = ', '.join([*BACKENDS, ZERO_FILLED])
        raise ConfigError(f"unknown sparse backend '{backend}': choose one of {choices}")
    if backend == 'spconv':
        require_spconv()
    for name in {'packed', 'masked', backend}:
        _check(backbone, name)
    packed, masked = (_convert(copy.deepcopy(backbone), name) for name in ('packed', 'masked'))
    by_rulebook = prove(packed, masked, patch_size)
    forward = _convert(backbone, backend)
    if backend == 'packed':
        for path in by_rulebook:
            layer: Any = backbone.get_submodule(path)
            lay_out_by_tap(layer.weight)
    return forward


def _check(backbone: nn.Module, backend: str) -> None:
    for path, layer in backbone.named_modules():
        kind = type(layer)
        if _replacement(layer, backend):
            _check_settings(layer, path)
        elif not (
            any(True for _ in layer.children())
            or isinstance(layer, POSITIONWISE)
            or _repeats_pixels(layer)
            or kind in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
            or (backend != 'masked' and isinstance(layer, PACKED_AS_THEY_ARE))
        ):
            raise UnsupportedLayerError(f"layer '{path}' ({kind.__name__}) has no exact sparse form")


def _replacement(layer: nn.Module, backend: str) -> type[nn.Module] | None:
    return BACKENDS[backend].get(SAME_AS.get(type(layer), type(layer)))


def _repeats_pixels(layer: nn.Module) -> bool:
    """Say whether a layer is an upsampling that stays within a tile."""
    if not isinstance(layer, nn.Upsample) or layer.mode != 'nearest' or layer.size is not None:
        return False
    factors = layer.scale_factor if isinstance(layer.scale_factor, tuple) else (layer.scale_factor,)
    return all(factor is not None and factor == int(factor) for factor in factors)


def _check_settings(layer: nn.Module, path: str) -> None:
    if isinstance(layer, WINDOWED):
        layer_axes(layer, path)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size not in (1, (1, 1)):
        raise UnsupportedLayerError(f"layer '{path}' pools to {layer.output_size}: only 1x1 has a sparse form")
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) != 1:
        raise UnsupportedLayerError(f"layer '{path}' normalises over positions: only over channels has a sparse form")
    if isinstance(layer, nn.AvgPool2d) and layer.divisor_override:
        raise UnsupportedLayerError(f"layer '{path}': divisor_override has no sparse form")


def _convert(backbone: nn.Module, backend: str) -> SparseForward:
    context = SparseContext()
    modules: list[tuple[str, Any]] = list(backbone.named_modules())
    for path, module in modules:
        replacement = _replacement(module, backend)
        if replacement is not None:
            if hasattr(module, 'kernel_size'):
                module.axes = layer_axes(module, path)
            module.__class__ = replacement
            module.sparse_context = context
    take_over_checkpointing(backbone, context)
    return SparseForward(backbone, context, backend, BACKENDS[backend])
