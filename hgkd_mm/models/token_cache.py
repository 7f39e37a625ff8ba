"""Teacher tokens of fixed views on disk: computed once, then read."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..utils import atomic_write


class TokenCache:
    """Memory-mapped float16 tokens, one row a view, filled as views come up.

    A row counts once it is wholly written, so a killed run loses nothing and a later one goes on filling.

    Args:
        folder: Where ``tokens.npy``, ``filled.npy`` and ``manifest.json`` are or will be.
        num_views: Rows.
        token_shape: ``(C, h, w)`` of a row.
        source: JSON-able facts that fix the tokens: teacher fingerprint, files of the data set, view transforms.

    Raises:
        DataError: The folder holds tokens of something else.
    """

    def __init__(self, folder: str | os.PathLike, num_views: int, token_shape: Sequence[int], source: dict) -> None:
        self.folder = Path(folder)
        shape = (num_views, *token_shape)
        manifest = {'schema': 1, 'shape': list(shape), 'source': source}
        path = self.folder / 'manifest.json'
        if path.exists():
            self._check(path, manifest)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, dtype, size in (('tokens', np.float16, shape), ('filled', np.bool_, shape[:1])):
                with atomic_write(self.folder / f'{name}.npy') as temporary:
                    np.lib.format.open_memmap(temporary, 'w+', dtype, size).flush()
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(manifest, indent=2))
        self.tokens = np.load(self.folder / 'tokens.npy', mmap_mode='r+')
        self.filled = np.load(self.folder / 'filled.npy', mmap_mode='r+')

    @staticmethod
    def _check(path: Path, expected: dict) -> None:
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise DataError(f'{path} is not JSON ({error}): remove the folder to build the cache anew') from error
        if found != expected:
            differs = [key for key in expected['source'] if found.get('source', {}).get(key) != expected['source'][key]]
            raise DataError(
                f'{path.parent} caches the tokens of something else (differs in: {", ".join(differs) or "shape"}): '
                'name another cache_dir, or remove the folder to build it anew'
            )

    def missing(self, views: Tensor) -> Tensor:
        """Return which of ``views`` ``(B,)`` are not cached: boolean ``(B,)``."""
        return torch.from_numpy(~self.filled[views.numpy()])

    def read(self, views: Tensor) -> Tensor:
        """Return tokens of cached ``views`` ``(B,)``: float32 ``(B, C, h, w)``."""
        return torch.from_numpy(self.tokens[views.numpy()].astype(np.float32))

    def write(self, views: Tensor, tokens: Tensor) -> None:
        """Store ``tokens`` ``(B, C, h, w)`` of ``views`` ``(B,)``."""
        self.tokens[views.numpy()] = tokens.cpu().numpy().astype(np.float16)
        self.filled[views.numpy()] = True

    def flush(self) -> None:
        """Write to the disk what was stored."""
        self.tokens.flush()
        self.filled.flush()

    def check(self, views: Tensor, tokens: Tensor, tolerance: float = 2e-2) -> None:
        """Compare freshly computed ``tokens`` with what is stored for ``views``.

        Raises:
            DataError: They differ by more than ``tolerance``, relative to the largest value.
        """
        difference = ((self.read(views) - tokens.cpu()).abs().amax() / tokens.abs().amax().cpu()).item()
        if not difference <= tolerance:
            raise DataError(
                f'{self.folder} is stale: recomputed tokens differ by {difference:.3g} of the largest value '
                f'(tolerance {tolerance}): remove the folder to build the cache anew'
            )
