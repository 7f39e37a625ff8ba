"""What differs between the two supported stacks: OneDL's maintained releases, and OpenMMLab's own (torch 2.1)."""

import contextlib
import inspect
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch

TORCH_VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])

#: An object that a checkpoint may hold besides tensors; with a name, when a file names it otherwise.
Allowed = type | Callable | tuple[Any, str]

HAS_SAFE_GLOBALS = hasattr(torch.serialization, 'safe_globals')  # torch 2.5

#: Optimizers take ``fused=True`` on CPUs too.
FUSED_ON_CPUS = TORCH_VERSION >= (2, 4)


def mmseg_distribution() -> str:
    """Name under which mmsegmentation is installed; mmengine would pip-install the package it does not find."""
    try:
        metadata.distribution('mmsegmentation')
    except metadata.PackageNotFoundError:
        return 'mmseg'
    return 'mmsegmentation'


def onnx_export_options() -> dict[str, Any]:
    """Arguments of ``torch.onnx.export`` that ask for the exporter by tracing, which old torch alone has."""
    return {'dynamo': False} if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """Type that operations on a device compute in under the autocast in force; None when there is none."""
    if TORCH_VERSION >= (2, 4):
        return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def safe_globals(objects: list[Allowed]) -> contextlib.AbstractContextManager:
    """``torch.serialization.safe_globals``; nothing where torch has none and reads tensors, numbers and text alone."""
    return torch.serialization.safe_globals(objects) if HAS_SAFE_GLOBALS else contextlib.nullcontext()
