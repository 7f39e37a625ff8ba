"""What differs between the two supported stacks: OneDL's maintained releases, and OpenMMLab's own (torch 2.1)."""

import codecs
import contextlib
import inspect
import os
import pickle
import types
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import torch

TORCH_VERSION = tuple(int(part) for part in torch.__version__.split('.')[:2])

#: An object that a checkpoint may hold besides tensors; with a name, when a file names it otherwise.
Allowed = type | Callable | tuple[Any, str]

HAS_SAFE_GLOBALS = hasattr(torch.serialization, 'safe_globals')  # torch 2.5

#: Optimizers take ``fused=True`` on CPUs too.
FUSED_ON_CPUS = TORCH_VERSION >= (2, 4)

_allowed: list[dict[str, Any]] = []


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


@contextlib.contextmanager
def safe_globals(objects: list[Allowed]) -> Iterator[None]:
    """``torch.serialization.safe_globals``, also where torch has none: let :func:`torch_load` read these too."""
    if HAS_SAFE_GLOBALS:
        with torch.serialization.safe_globals(objects):
            yield
        return
    named = (item if isinstance(item, tuple) else (item, f'{item.__module__}.{item.__qualname__}') for item in objects)
    _allowed.append({name: item for item, name in named})
    try:
        yield
    finally:
        _allowed.pop()


def torch_load(file: Any, map_location: Any = None) -> Any:
    """``torch.load(..., weights_only=True)`` that honours :func:`safe_globals` in every version of torch.

    Raises:
        pickle.UnpicklingError: The file holds something else than tensors and allowed objects.
    """
    try:
        return torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        is_path = isinstance(file, str | os.PathLike)
        if HAS_SAFE_GLOBALS or not _allowed or not is_path or not zipfile.is_zipfile(file):
            raise
    # torch before 2.5 cannot be told what else is safe. An unpickler can: this one finds nothing but what is listed.
    return torch.load(file, map_location=map_location, pickle_module=_restricted_pickle(), weights_only=False)


def _restricted_pickle() -> Any:
    from torch._weights_only_unpickler import _get_allowed_globals

    known = {**_get_allowed_globals(), '_codecs.encode': codecs.encode}  # as torch itself since 2.5, for numpy's
    for objects in _allowed:
        known |= objects

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            module = IMPORT_MAPPING.get(module, module)  # as pickle itself reads files of protocol 2
            found = known.get(f'{module}.{name}')
            if found is None:
                raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {module}.{name}')
            return found

    def load(file: Any, **kwargs: Any) -> Any:
        return Unpickler(file, **kwargs).load()

    restricted = types.ModuleType('restricted_pickle')
    restricted.Unpickler, restricted.load = Unpickler, load  # type: ignore[attr-defined]
    return restricted
