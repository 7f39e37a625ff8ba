"""BatchNorm with the statistics of all processes, on GPUs and on CPUs, whatever subclass of it a network has.

torch's ``SyncBatchNorm`` runs on GPUs only, and mmengine's conversion replaces a layer by a plain one, which would
take the mask from a sparse layer of the masked backend.
"""

import functools
from typing import Any

import torch
from mmengine import registry as root
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from ..sparse.precision import at_least_float32

MODEL_WRAPPERS = root.Registry(
    'model_wrapper', parent=root.MODEL_WRAPPERS, scope='hgkd_mm', locations=['hgkd_mm.engine']
)


class CollectiveBatchNorm(_BatchNorm):
    """BatchNorm whose statistics in training are those of all processes, by collectives that CPUs have too."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, ...)`` to the same shape."""
        if not self.training or not distributed.is_initialized() or distributed.get_world_size() == 1:
            return super().forward(x)
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean, variance, count = statistics_of_all(x)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                batches: Any = self.num_batches_tracked
                batches.add_(1)
                momentum = 1 / batches.item() if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
                unbiased = variance * count / (count - 1)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        out = (at_least_float32(x) - mean.view(shape)) * torch.rsqrt(variance.view(shape) + self.eps)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)


def statistics_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel over the batches of all processes.

    Two rounds, of sums and of squared differences from the mean: one of sums and squares would lose digits.

    Args:
        x: ``(B, C, ...)``; B may differ between processes.

    Returns:
        Mean ``(C,)``, variance ``(C,)`` and number of values a channel, differentiable, at least in float32.
    """
    axes = [0, *range(2, x.ndim)]
    wide = at_least_float32(x)
    count = wide.new_full((1,), wide.numel() // wide.shape[1])
    total = all_reduce(torch.cat([wide.sum(axes), count]))
    mean, count = total[:-1] / total[-1], total[-1].detach()
    centred = wide - mean.view([1, -1] + [1] * (x.ndim - 2))
    return mean, all_reduce(centred.square().sum(axes)) / count, count


class _CollectiveSyncBatchNorm(CollectiveBatchNorm, nn.SyncBatchNorm):
    """``SyncBatchNorm`` for CPUs."""


@functools.cache
def _synchronised(kind: Any, cuda: bool) -> type[nn.Module]:
    """Give the subclass of a BatchNorm layer's class that synchronises right before the base computes."""
    if issubclass(kind, CollectiveBatchNorm) or (cuda and issubclass(kind, nn.SyncBatchNorm)):
        return kind
    if kind is nn.SyncBatchNorm:
        return _CollectiveSyncBatchNorm
    if cuda:
        base: type[nn.Module] = nn.SyncBatchNorm
    else:
        base = _CollectiveSyncBatchNorm if issubclass(kind, nn.SyncBatchNorm) else CollectiveBatchNorm
    return type(f'Synchronised{kind.__name__}', (kind, base), {})


def synchronise_batchnorm(model: nn.Module, plain: bool = True) -> int:
    """Let the BatchNorm layers of a model use the statistics of all processes, in place.

    A layer's class becomes a subclass of its own: parameters, their names and what else the layer does stay.

    Args:
        model: On the device it will run on.
        plain: Also layers that are no ``SyncBatchNorm`` yet.

    Returns:
        Number of layers that synchronise now.
    """
    cuda = any(parameter.is_cuda for parameter in model.parameters())
    count = 0
    layers: list[Any] = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm if not plain else _BatchNorm)]
    for layer in layers:
        kind: Any = type(layer)
        layer.__class__ = _synchronised(kind, cuda)
        if isinstance(layer, nn.SyncBatchNorm) and not hasattr(layer, 'process_group'):
            layer.process_group = None
        count += 1
    return count


@MODEL_WRAPPERS.register_module()
class DistributedModel(MMDistributedDataParallel):
    """mmengine's ``DistributedDataParallel`` over a model whose BatchNorm is synchronised.

    Args:
        module: On its device.
        sync_bn: Synchronise every BatchNorm layer; False: only those that the model asks for as ``SyncBN``.
        **kwargs: Of ``MMDistributedDataParallel``. ``device_ids`` is left out on CPUs.
    """

    def __init__(self, module: nn.Module, sync_bn: bool = False, **kwargs: Any) -> None:
        synchronise_batchnorm(module, plain=sync_bn)
        if not any(parameter.is_cuda for parameter in module.parameters()):
            kwargs['device_ids'] = None
        super().__init__(module, **kwargs)
