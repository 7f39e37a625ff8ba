"""Sums over many positions want more digits than bfloat16 has."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return ``x`` in float32 where it has half precision, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
