"""Teacher tokens of fixed views on disk: computed once, then read."""

import fcntl
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..utils import atomic_write

#: Largest size of a shard.
SHARD_BYTES = 1 << 30
_WRITTEN = 1 << 32  # set in the index beside the checksum, which may be zero


class TokenCache:
    """Memory-mapped float16 tokens, one row a view, in shards.

    A row counts once its checksum is in the index, and is believed only while its bytes have it: a killed run loses
    nothing that it wrote, a later one goes on, and a damaged shard is noticed where it is read.

    Args:
        folder: Where ``manifest.json``, ``index.npy`` and ``tokens-00000.bin``... are or will be.
        num_views: Rows.
        shapes: ``(C, h, w)`` of each target in a row.
        source: JSON-able facts that fix the tokens: teachers, images, views.
        shard_bytes: Largest size of a shard; an existing cache keeps its own.

    Raises:
        DataError: The folder holds tokens of something else, or a shard is not whole.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        num_views: int,
        shapes: Sequence[Sequence[int]],
        source: dict,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.shapes = [tuple(shape) for shape in shapes]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.row_bytes = 2 * sum(self.sizes)
        manifest = {
            'schema': 2,
            'views': num_views,
            'shapes': [list(shape) for shape in self.shapes],
            'dtype': 'float16',
            'rows_per_shard': max(1, shard_bytes // self.row_bytes),
            'source': json.loads(json.dumps(source)),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            manifest = self._open_manifest(manifest)
        self.num_views = num_views
        self.rows_per_shard = manifest['rows_per_shard']
        self.index = np.load(self.folder / 'index.npy', mmap_mode='r+')
        self.shards: dict[int, np.memmap] = {}
        self._check_sizes()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep processes that start together from creating the same files."""
        with open(self.folder / '.lock', 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _open_manifest(self, expected: dict) -> dict:
        path = self.folder / 'manifest.json'
        if not path.exists():
            with atomic_write(self.folder / 'index.npy') as temporary:
                np.lib.format.open_memmap(temporary, 'w+', np.uint64, (expected['views'],)).flush()
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(expected, indent=2) + '\n', encoding='utf-8')
            return expected
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise DataError(f'{path} is not JSON ({error}): remove the folder to build the cache anew') from error
        own = {'rows_per_shard': found.get('rows_per_shard')} if isinstance(found, dict) else {}
        if differences := _differences(expected | own, found):
            raise DataError(
                f'{self.folder} caches the tokens of something else. It differs in {"; ".join(differences)}. '
                'Name another folder, or remove this one to build it anew'
            )
        return found

    def _check_sizes(self) -> None:
        written = np.unique(np.flatnonzero(self.index) // self.rows_per_shard)
        for shard in written.tolist():
            path, size = self._path(shard), self._rows_of(shard) * self.row_bytes
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                state = 'is missing' if found is None else f'has {found} bytes'
                raise DataError(f'{path} {state}, expected {size} bytes: {self._advice()}')

    def _path(self, shard: int) -> Path:
        return self.folder / f'tokens-{shard:05d}.bin'

    def _rows_of(self, shard: int) -> int:
        return min(self.rows_per_shard, self.num_views - shard * self.rows_per_shard)

    def _advice(self) -> str:
        return 'remove the folder to build the cache anew'

    def _shard(self, shard: int) -> np.memmap:
        if shard not in self.shards:
            path, rows = self._path(shard), self._rows_of(shard)
            with open(path, 'ab') as file:  # another process may do the same
                # not a file with holes: a disk that is full says so here, and does not kill the process later
                os.posix_fallocate(file.fileno(), 0, rows * self.row_bytes)
            self.shards[shard] = np.memmap(path, np.float16, 'r+', shape=(rows, self.row_bytes // 2))
        return self.shards[shard]

    def _row(self, view: int) -> np.ndarray:
        shard, row = divmod(view, self.rows_per_shard)
        return np.asarray(self._shard(shard)[row])

    @property
    def num_written(self) -> int:
        """Rows that are there."""
        return int(np.count_nonzero(self.index))

    def missing(self, views: Tensor) -> Tensor:
        """Return which of ``views`` ``(B,)`` are not cached: boolean ``(B,)``."""
        return torch.from_numpy(self.index[views.numpy()] == 0)

    def read(self, views: Tensor) -> list[Tensor]:
        """Return the targets of cached ``views`` ``(B,)``: float32 ``(B, C, h, w)`` each.

        Raises:
            DataError: A row is damaged.
        """
        rows = np.empty((len(views), self.row_bytes // 2), np.float16)
        for row, view in zip(rows, views.tolist(), strict=True):
            row[:] = self._row(view)
            if _checksum(row) != self.index[view]:
                shard, number = divmod(view, self.rows_per_shard)
                raise DataError(
                    f'{self._path(shard)}: row {number} is damaged, its checksum is another one. '
                    '`python tools/cache_teacher.py CONFIG --verify` writes damaged rows anew'
                )
        parts = torch.from_numpy(rows.astype(np.float32)).split(self.sizes, dim=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def write(self, views: Tensor, targets: Sequence[Tensor]) -> None:
        """Store targets ``(B, C, h, w)`` of ``views`` ``(B,)``.

        Raises:
            DataError: A value is not finite in float16.
        """
        flat = torch.cat([target.flatten(1) for target in targets], dim=1).cpu().numpy()
        with np.errstate(over='ignore'):
            rows = flat.astype(np.float16)
        if not np.isfinite(rows).all():
            raise DataError(f"{self.folder}: a token's value of {np.abs(flat).max():.3g} does not fit in float16")
        for view, row in zip(views.tolist(), rows, strict=True):
            self._row(view)[:] = row
            self.index[view] = _checksum(row)

    def flush(self) -> None:
        """Write everything to disk: the rows, then the index that says they are there."""
        for shard in self.shards.values():
            shard.flush()
        self.index.flush()

    def forget_damaged(self) -> list[str]:
        """Read every row, and make those that are damaged missing again; returns the names of their shards."""
        damaged = set()
        for view in np.flatnonzero(self.index).tolist():
            if _checksum(self._row(view)) != self.index[view]:
                self.index[view] = 0
                damaged.add(self._path(view // self.rows_per_shard).name)
        return sorted(damaged)

    def check_space(self) -> None:
        """See that the rows that are missing fit on the disk.

        Raises:
            DataError: They do not.
        """
        needed = (self.num_views - self.num_written) * self.row_bytes
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise DataError(f'{self.folder}: {needed / 1e9:.1f} GB of tokens are missing, {free / 1e9:.1f} GB are free')

    def check(self, views: Tensor, targets: Sequence[Tensor], tolerance: float = 2e-2) -> None:
        """Compare freshly computed targets ``(B, C, h, w)`` with what is stored for ``views``.

        Raises:
            DataError: They differ by more than ``tolerance``, relative to the largest value.
        """
        for stored, fresh in zip(self.read(views), targets, strict=True):
            fresh = fresh.cpu()
            difference = ((stored - fresh).abs().amax() / fresh.abs().amax()).item()
            if not difference <= tolerance:
                raise DataError(
                    f'{self.folder} is stale: recomputed tokens of view {views.tolist()} differ by {difference:.3g} of '
                    f'the largest value (tolerance {tolerance}): {self._advice()}'
                )


def _checksum(row: Any) -> int:
    return zlib.crc32(row.tobytes()) | _WRITTEN


def _differences(expected: object, found: object, name: str = '') -> list[str]:
    """Name what differs between two JSON values, with what was found and what was expected."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = sorted(expected.keys() | found.keys())
        nested = [_differences(expected.get(k), found.get(k), f'{name}.{k}' if name else k) for k in keys]
        return [line for lines in nested for line in lines]
    if expected == found:
        return []
    return [f'{name} (found {_short(found)}, expected {_short(expected)})']


def _short(value: object, length: int = 80) -> str:
    text = json.dumps(value)
    return text if len(text) <= length else text[:length] + '...'
