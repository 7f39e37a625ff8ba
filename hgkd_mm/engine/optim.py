"""bfloat16 training on CPUs, where mmengine's mixed-precision wrapper refuses to be built."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine import registry as root
from mmengine.optim import OptimWrapper

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
