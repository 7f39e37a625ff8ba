"""Checkpoint files: read without ever running what is in them, written whole or not at all.

mmengine's loader tries ``weights_only=True`` and, when that is refused, unpickles the file without
asking, which runs any code its author put there. :func:`install` puts :func:`load_checkpoint_file`
in its place.
"""

import functools
import hashlib
import os
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors.torch import load_file

from ..compat import HAS_SAFE_GLOBALS, safe_globals
from ..errors import WeightsError
from ..utils import atomic_write
from .plain import restore_histories

#: A sealed file ends with this and the SHA-256 of all before, as the comment that a zip archive may have.
_SEAL = b'sha256:'
_SEAL_SIZE = len(_SEAL) + 64
_ZIP_START, _ZIP_END, _ZIP_END_SIZE = b'PK\x03\x04', b'PK\x05\x06', 22
_HISTORY_METHODS = ('min', 'max', 'current', 'mean')


def _history_method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, by which mmengine's log buffers pickle their methods."""
    if owner is not HistoryBuffer or name not in _HISTORY_METHODS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _safe_globals() -> list:
    """List what a checkpoint of mmengine's own holds besides tensors: log histories and numpy numbers."""
    core: Any = getattr(np, '_core' if int(np.__version__.split('.')[0]) >= 2 else 'core')
    numpy_functions = [
        (getattr(core.multiarray, name), f'numpy.{module}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for module in ('core', '_core')  # the name of the module in numpy 1 and 2
    ]
    numbers = ('bool', 'uint8', 'int32', 'int64', 'uint32', 'float16', 'float32', 'float64')
    dtypes = [type(np.dtype(name)) for name in numbers]
    history = [HistoryBuffer, (_history_method, 'builtins.getattr')]
    return [np.ndarray, np.dtype, *numpy_functions, *dtypes, *history]


def seal(content: bytes) -> bytes:
    """Add a checksum of itself to what :func:`torch.save` wrote; any other content is returned as it is.

    The checksum is the zip archive's comment, so every reader of such files still reads it, and a copy keeps it.
    """
    if not content.startswith(_ZIP_START) or content[-_ZIP_END_SIZE:-18] != _ZIP_END:
        return content
    content = content[:-2] + struct.pack('<H', _SEAL_SIZE)
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def check_seal(path: str | os.PathLike) -> bool:
    """Compare a file with the checksum it carries.

    Args:
        path: File of this machine.

    Returns:
        True when it carries one and it fits, False when the file was written without one.

    Raises:
        WeightsError: The file was changed or cut off after it was written.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        is_zip = file.read(4) == _ZIP_START
        file.seek(max(0, size - _ZIP_END_SIZE - _SEAL_SIZE))
        end = file.read()
        sealed = end[-_SEAL_SIZE:-64] == _SEAL
        without_comment = end[-_ZIP_END_SIZE:-18] == _ZIP_END and end[-2:] == b'\0\0'
        if not sealed and (without_comment or not is_zip):
            return False  # torch's own, or of another kind
        if not sealed:
            raise WeightsError(
                f'{path} is truncated or not a checkpoint: its end is missing. '
                'Expected a file written by torch.save or safetensors: fetch or export it again'
            )
        file.seek(0)
        digest, left = hashlib.sha256(), size - _SEAL_SIZE
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
    if digest.hexdigest().encode() != end[-64:]:
        raise WeightsError(
            f'{path} is damaged: its content does not fit its checksum. Use an earlier checkpoint, or fetch it again'
        )
    return True


def load_checkpoint_file(path: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """Read a checkpoint (``.pth`` or ``.safetensors``) without running code from it.

    Args:
        path: File of this machine.
        map_location: As in :func:`torch.load`.

    Returns:
        The checkpoint; for safetensors the plain state dict.

    Raises:
        WeightsError: Missing, truncated, not a checkpoint, or with objects other than weights.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(
            f'checkpoint {path} does not exist. Check the path; a run writes its checkpoints into its work dir'
        )
    if path.stat().st_size == 0:
        raise WeightsError(f'checkpoint {path} is empty: the copy or download broke off, fetch it again')
    try:
        if path.suffix == '.safetensors':
            return load_file(path, device=str(map_location or 'cpu'))
        check_seal(path)
        with safe_globals(_safe_globals()):
            checkpoint = torch.load(path, map_location, weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # damaged bytes lead the readers into all kinds of them
        # torch raises the same for foreign objects and for a file which is no pickle at all
        if isinstance(error, UnpicklingError) and zipfile.is_zipfile(path):
            raise WeightsError(
                f'{path} holds Python objects besides weights, which could run code '
                f'({_refused(error)}); it is not loaded. Ask its author for a file with tensors only'
                + ('' if HAS_SAFE_GLOBALS else ', or use torch 2.5 or later, which can be told what else is harmless')
            ) from error
        raise WeightsError(
            f'{path} is truncated or not a checkpoint ({_first_line(error)}). '
            'Expected a file written by torch.save or safetensors: fetch or export it again'
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise WeightsError(
            f'{path} holds a {type(checkpoint).__name__}, expected a dict of weights or an mmengine checkpoint'
        )
    return dict(checkpoint)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _refused(error: Exception) -> str:
    """Cut the name of the refused object out of torch's long message."""
    lines = [line.strip() for line in str(error).splitlines() if 'Unsupported' in line or 'GLOBAL' in line]
    return (lines or [_first_line(error)])[0].replace('WeightsUnpickler error: ', '')[:160]


def state_dict_of(checkpoint: Mapping, path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint: its ``state_dict``, or itself when it is a plain one.

    Args:
        checkpoint: What :func:`load_checkpoint_file` returned.
        path: Its file, for the error message.

    Raises:
        WeightsError: There are no weights in it.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, Mapping) or not weights:
        raise WeightsError(f'{path} has no weights: found keys {sorted(map(str, checkpoint))[:5]}')
    foreign = [str(key) for key, value in weights.items() if not isinstance(value, torch.Tensor)]
    if foreign:
        raise WeightsError(
            f"{path} is neither a state dict nor a checkpoint with a 'state_dict': {foreign[:5]} are no tensors"
        )
    return dict(weights)


def _load_for_mmengine(filename: str, map_location: Any = None) -> dict:
    checkpoint = load_checkpoint_file(filename, map_location)
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        # On resuming, mmengine executes this entry as Python to compare the number of GPUs; runs of
        # its releases in use write 'cfg' instead, so nothing is lost.
        meta.pop('config', None)
    restore_histories(checkpoint)
    return checkpoint


def _load_weights_only(file: Any, map_location: Any = None, weights_only: bool | None = None) -> dict:
    """Take the place of the loader behind mmengine's remote schemes, which may unpickle."""
    if isinstance(file, str | os.PathLike):
        return _load_for_mmengine(os.fspath(file), map_location)
    with safe_globals(_safe_globals()):
        return torch.load(file, map_location, weights_only=True)


def _load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> dict:
    """Take the place of mmengine's download, whose file is unpickled; kept where torch keeps its downloads."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    path = folder / (file_name or Path(urlparse(url).path).name)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        found = re.search(r'-([a-f0-9]{8,})\.', path.name) if check_hash else None
        print_log(f'Downloading {url} to {path}', logger='current')
        torch.hub.download_url_to_file(url, str(path), found and found[1], progress=progress)
    return _load_for_mmengine(str(path), map_location)


class _SafeTorch(ModuleType):
    """Stands for ``torch`` in mmengine's loaders before 0.10.8, which call ``torch.load`` themselves."""

    load = staticmethod(_load_weights_only)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, renamed into place once complete: no half-written checkpoint."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes, a checkpoint with its checksum; see :class:`mmengine.fileio.LocalBackend`."""
        with atomic_write(filepath) as temporary:
            temporary.write_bytes(seal(obj))

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; see :class:`mmengine.fileio.LocalBackend`."""
        with atomic_write(filepath) as temporary:
            temporary.write_text(obj, encoding=encoding)


@functools.cache
def install() -> None:
    """Make mmengine read with :func:`load_checkpoint_file` and write files atomically."""
    mmengine_checkpoint.CheckpointLoader.register_scheme('', _load_for_mmengine, force=True)
    mmengine_checkpoint.load_url = _load_url
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):
        mmengine_checkpoint._safe_torch_load = _load_weights_only
    else:
        mmengine_checkpoint.torch = _SafeTorch('torch')
    register_backend('local', AtomicLocalBackend, force=True, prefixes='')
