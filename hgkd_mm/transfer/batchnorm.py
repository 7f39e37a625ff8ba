"""Re-estimation of BatchNorm's running statistics ("precise BN")."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import DataError


@torch.no_grad()
def reestimate_batchnorm(backbone: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Replace BatchNorm's running means and variances by those of dense images; weights stay.

    A student trained on visible patches has statistics of sparse features; on whole images they
    differ. They become the plain average over the batches (PyTorch's ``momentum=None``).
    Everything but the normalisation layers runs in evaluation mode. Modes and momenta are restored.

    Args:
        backbone: Called with each batch; changed in place.
        batches: Normalised images, each ``(B, 3, H, W)`` on the backbone's device, as the backbone
            gets them in training. Some hundred images are enough.

    Returns:
        Number of normalisation layers re-estimated; 0 leaves the batches untouched.

    Raises:
        DataError: No batch was given.
    """
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    modes = {module: module.training for module in backbone.modules()}
    momenta = [norm.momentum for norm in norms]
    statistics = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    count = 0
    try:
        backbone.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for batch in batches:
            backbone(batch)
            count += 1
    finally:
        for module, training in modes.items():
            module.training = training
        for norm, momentum, old in zip(norms, momenta, statistics, strict=True):
            norm.momentum = momentum
            if count == 0:
                norm.load_state_dict({**norm.state_dict(), **old})
    if count == 0:
        raise DataError('no images to re-estimate BatchNorm on: the data set or loader is empty')
    return len(norms)
