"""Make an ordinary CNN sparse, in place, without renaming a parameter."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import ConfigError, UnsupportedLayerError
from .context import SparseContext
from .mask import PatchMask
from .masked import MaskedBatchNorm2d, MaskedConv2d, MaskedMaxPool2d
from .packed import LAYER_GEOMETRY, PackedConv2d, PackedMaxPool2d

#: Per backend: the layer that takes an ordinary one's place.
REPLACEMENTS: dict[str, dict[type[nn.Module], type[nn.Module]]] = {
    'packed': {nn.Conv2d: PackedConv2d, nn.MaxPool2d: PackedMaxPool2d},
    'masked': {
        nn.Conv2d: MaskedConv2d,
        nn.MaxPool2d: MaskedMaxPool2d,
        nn.BatchNorm2d: MaskedBatchNorm2d,
    },
}

#: Layers that treat every position alike and keep zero at zero: exact as they are.
POSITIONWISE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Identity)

#: Exact as they are in the packed backend, where only visible positions exist.
PACKED_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


class SparseForward:
    """Runs a converted backbone on the visible patches of a batch.

    Obtained from :func:`make_sparse`. Holds no parameters: the backbone stays where the model keeps it.
    """

    def __init__(self, backbone: nn.Module, context: SparseContext, backend: str) -> None:
        self.backbone = backbone
        self.context = context
        self.backend = backend

    def __call__(self, images: Tensor, mask: PatchMask) -> list[Tensor]:
        """Return the stage features, zero at hidden positions.

        Args:
            images: ``(B, 3, H, W)``.
            mask: Patch mask of these images.

        Returns:
            One ``(B, C_i, H_i, W_i)`` a stage of the backbone.

        Raises:
            MaskError: Mask and images do not fit, or the patch is smaller than the network's stride.
        """
        mask.check_images(images)
        with self.context.use(mask):
            if self.backend == 'packed':
                return [mask.unpack(tiles) for tiles in self.backbone(mask.pack(images))]
            return list(self.backbone(images * mask.grid(*images.shape[-2:])))


def make_sparse(backbone: nn.Module, backend: str = 'packed') -> SparseForward:
    """Replace the layers of ``backbone`` that look at neighbours, in place.

    Parameters are shared and keep their names; the backbone called as usual stays the dense network.

    Args:
        backbone: An ordinary CNN, such as mmpretrain's ``ResNet``.
        backend: ``'packed'`` (visible patches only) or ``'masked'`` (dense, then masked: the reference).

    Returns:
        The callable that runs the backbone under a mask.

    Raises:
        ConfigError: Unknown backend.
        UnsupportedLayerError: A layer has no exact sparse form; names the layer and its path.
    """
    if backend not in REPLACEMENTS:
        raise ConfigError(f"unknown sparse backend '{backend}': choose one of {', '.join(REPLACEMENTS)}")
    context = SparseContext()
    for path, parent in list(backbone.named_modules()):
        if getattr(parent, 'with_cp', False):
            raise UnsupportedLayerError(
                f"{type(parent).__name__} at '{path or '.'}' has with_cp=True: gradient checkpointing recomputes "
                'without the mask; set with_cp=False'
            )
        for name, layer in list(parent.named_children()):
            _replace(parent, name, f'{path}.{name}'.lstrip('.'), layer, backend, context)
    return SparseForward(backbone, context, backend)


def _replace(parent: nn.Module, name: str, path: str, layer: nn.Module, backend: str, context: SparseContext) -> None:
    replacement = REPLACEMENTS[backend].get(type(layer))
    if replacement is not None:
        _check_geometry(layer, path)
        setattr(parent, name, COPY[type(layer)](replacement, layer))
        getattr(parent, name).sparse_context = context
    elif not _is_exact_as_it_is(layer, backend):
        raise UnsupportedLayerError(
            f"layer '{path}' ({type(layer).__name__}) has no exact sparse form in the {backend} backend"
        )


def _is_exact_as_it_is(layer: nn.Module, backend: str) -> bool:
    if any(layer.children()) or isinstance(layer, POSITIONWISE):
        return True
    if type(layer).__name__ == 'DropPath':  # of mmcv, mmpretrain and timm alike
        return bool(layer.drop_prob == 0)
    is_container = type(layer) in (nn.Sequential, nn.ModuleList)
    return is_container or (backend == 'packed' and type(layer) in PACKED_NORMS)


def _check_geometry(layer: nn.Module, path: str) -> None:
    for key in LAYER_GEOMETRY:
        value = getattr(layer, key, 1)
        if isinstance(value, str) or (isinstance(value, tuple) and len(set(value)) > 1):
            raise UnsupportedLayerError(f"layer '{path}' has {key}={value!r}: only square, numeric values are exact")
    if getattr(layer, 'padding_mode', 'zeros') != 'zeros':
        raise UnsupportedLayerError(f"layer '{path}' has padding_mode='{layer.padding_mode}': only 'zeros' is exact")
    if getattr(layer, 'ceil_mode', False) or getattr(layer, 'return_indices', False):
        raise UnsupportedLayerError(f"layer '{path}': ceil_mode and return_indices have no sparse form")


def _copy_conv(cls: type[nn.Conv2d], conv: nn.Conv2d) -> nn.Conv2d:
    keys = ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups')
    copy = cls(**{key: getattr(conv, key) for key in keys}, bias=conv.bias is not None, device='meta')
    copy.weight, copy.bias = conv.weight, conv.bias
    return copy.train(conv.training)


def _copy_pool(cls: type[nn.MaxPool2d], pool: nn.MaxPool2d) -> nn.MaxPool2d:
    return cls(**{key: getattr(pool, key) for key in LAYER_GEOMETRY})


def _copy_norm(cls: type[nn.BatchNorm2d], norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    keys = ('num_features', 'eps', 'momentum', 'affine', 'track_running_stats')
    copy = cls(**{key: getattr(norm, key) for key in keys}, device=torch.device('meta'))
    copy.weight, copy.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        copy.register_buffer(name, buffer)
    return copy.train(norm.training)


COPY: dict[type[nn.Module], Callable] = {
    nn.Conv2d: _copy_conv,
    nn.MaxPool2d: _copy_pool,
    nn.BatchNorm2d: _copy_norm,
}
