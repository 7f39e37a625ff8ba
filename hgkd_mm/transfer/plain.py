"""Checkpoints of tensors, numbers and text alone: what every version of torch reads with ``weights_only=True``.

mmengine's checkpoints also hold its log buffers, which pickle functions, and numbers of numpy.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

#: What a log buffer is in a checkpoint: two tensors of equal length, and how long they may become.
_HISTORY = ('log_history', 'count_history', 'max_length')


def to_plain(value: Any) -> Any:
    """Return nested values with log buffers as dicts of tensors, numpy's arrays as lists and its numbers as numbers.

    Args:
        value: Dicts, lists, tuples and what is in them. Tensors stay the same objects, dicts become plain ones or
            stay ordered.
    """
    if isinstance(value, HistoryBuffer):
        history, counts = (torch.from_numpy(np.array(part)) for part in value.data)
        return dict(zip(_HISTORY, (history, counts, value.max_length), strict=True))
    if isinstance(value, Mapping):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((to_plain(key), to_plain(entry)) for key, entry in value.items())
    if isinstance(value, list | tuple):
        return (tuple if isinstance(value, tuple) else list)(to_plain(entry) for entry in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def make_plain(checkpoint: dict[str, Any]) -> None:
    """Apply :func:`to_plain` to all of a checkpoint but weights, which carry the versions of their modules."""
    for key, value in checkpoint.items():
        if not key.endswith('state_dict'):
            checkpoint[key] = to_plain(value)


def restore_histories(checkpoint: Mapping[str, Any]) -> None:
    """Make log buffers of what :func:`to_plain` made of them, where mmengine looks for them on resuming."""
    hub = checkpoint.get('message_hub')
    logs = hub.get('log_scalars') if isinstance(hub, Mapping) else None
    if not isinstance(logs, dict):
        return
    for name, value in logs.items():
        if isinstance(value, Mapping) and set(value) == set(_HISTORY):
            # resuming reads everything to where the model is
            history, counts = (value[key].cpu().numpy() for key in _HISTORY[:2])
            logs[name] = HistoryBuffer(history, counts, value['max_length'])
