"""bfloat16 training on CPUs, where mmengine's mixed-precision wrapper refuses to be built."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine import registry as root
from mmengine.optim import OptimWrapper
from torch.optim import Optimizer

OPTIM_WRAPPERS = root.Registry(
    'optim wrapper', parent=root.OPTIM_WRAPPERS, scope='hgkd_mm', locations=['hgkd_mm.engine']
)


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """``OptimWrapper`` whose forward pass runs under autocast, on any device.

    No loss scaling: bfloat16 has the exponent range of float32. Weights and gradients stay float32.

    Args:
        dtype: ``'bfloat16'``.
        device_type: As in :class:`torch.autocast`.
        kwargs: Of :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, dtype: str = 'bfloat16', device_type: str = 'cpu', **kwargs) -> None:
        super().__init__(**kwargs)
        self.dtype = getattr(torch, dtype)
        self.device_type = device_type

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Enable autocast, besides what the base class does for gradient accumulation."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.dtype):
            yield


def merge_param_groups(optimizer: Optimizer) -> None:
    """Put parameters with the same options into one group: mmengine makes a group of every parameter.

    What is computed stays the same. An optimizer with one pass or kernel a group takes two instead of a hundred.

    Args:
        optimizer: Before its first step.
    """
    merged: list[dict] = []
    for group in optimizer.param_groups:
        options = {key: value for key, value in group.items() if key != 'params'}
        same = next((one for one in merged if {key: one[key] for key in one if key != 'params'} == options), None)
        if same is None:
            merged.append({**options, 'params': list(group['params'])})
        else:
            same['params'] += group['params']
    optimizer.param_groups = merged
