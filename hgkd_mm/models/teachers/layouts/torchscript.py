"""Reads the weights out of a TorchScript archive, such as OpenAI's CLIP files, without running the program in it."""

import os
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from ....errors import WeightsError

_DTYPES = {'FloatStorage': torch.float32, 'HalfStorage': torch.float16, 'BFloat16Storage': torch.bfloat16}
_DTYPES |= {'LongStorage': torch.int64, 'IntStorage': torch.int32, 'BoolStorage': torch.bool}


def is_torchscript(path: str | os.PathLike) -> bool:
    """Say whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())


def read_torchscript(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript module by their dotted names.

    Only data is read: modules become plain containers, and everything but tensors, lists and containers is refused.

    Raises:
        WeightsError: The archive is damaged or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.endswith('/data.pkl'))
            with archive.open(name) as file:
                module = _Unpickler(file, archive, name.removesuffix('data.pkl')).load()
    except (zipfile.BadZipFile, StopIteration, pickle.UnpicklingError, KeyError, RuntimeError, EOFError) as error:
        raise WeightsError(f'{path}: a TorchScript archive that cannot be read ({error})') from error
    return dict(_tensors(module, ''))


class _Module:
    """Any class of the program: its attributes alone."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _tensors(node: Any, prefix: str) -> list[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        return [(prefix.removesuffix('.'), node)]
    state = node.state if isinstance(node, _Module) else None
    if not isinstance(state, dict):
        return []
    return [item for key, value in state.items() for item in _tensors(value, f'{prefix}{key}.')]


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)  # checks that it stays within


class _Unpickler(pickle.Unpickler):
    """Makes nothing but tensors, lists and containers."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self.archive = archive
        self.root = root

    def find_class(self, module: str, name: str) -> Any:
        """Allow what TorchScript writes for weights."""
        if module.split('.')[0] == '__torch__':
            return _Module
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _rebuild_tensor
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch.jit._pickle' and name in ('build_intlist', 'build_doublelist', 'build_boollist'):
            return list
        raise pickle.UnpicklingError(f'{module}.{name} is not allowed')

    def persistent_load(self, pid: Any) -> Tensor:
        """Read the storage ``('storage', dtype, key, location, length)``."""
        _, dtype, key, _, _ = pid
        content = bytearray(self.archive.read(f'{self.root}data/{key}'))
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
