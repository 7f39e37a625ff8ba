"""Reading of images that does not pass over anything: an error names the file and what is wrong with it."""

import functools
import io
import os
import warnings
from typing import Any, BinaryIO

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile as _LoadImageFromFile
from mmengine import fileio
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from PIL import Image

from ...errors import DataError
from ...registry import TRANSFORMS

#: Most pixels of an image; more is taken for a decompression bomb. Twice what Pillow warns at.
MAX_PIXELS = 178_956_970
#: How the files of a format end; one that does not was cut off.
LAST_BYTES = {'JPEG': b'\xff\xd9', 'PNG': b'IEND\xaeB`\x82'}


def fault_of(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> str | None:
    """Say what is wrong with an image file, without decoding it.

    Args:
        file: Its bytes, seekable; only the header and the end are read.
        max_pixels: Most pixels it may have.

    Returns:
        The fault, or None. Palettes, CMYK, 16 bits and animations (their first frame) are none: decoders turn them into
        8-bit BGR.
    """
    size = file.seek(0, os.SEEK_END)
    if not size:
        return 'empty'
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            # the header alone is read, so a bomb costs nothing
            with Image.open(file) as image:
                kind, (width, height) = image.format or '', image.size
                file.seek(-min(4096, size), os.SEEK_END)
                end = file.read()
    except Image.DecompressionBombError:
        return f'more than {max_pixels:,} pixels'
    except Exception:  # hostile headers lead Pillow into many kinds
        return 'no readable image'
    if width * height > max_pixels:
        return f'{width}x{height} pixels, more than {max_pixels:,}'
    # a few of ImageNet's files have bytes after the end
    return 'cut off' if kind in LAST_BYTES and LAST_BYTES[kind] not in end else None


@TRANSFORMS.register_module()
class LoadImageFromFile(_LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with the same pixels, but a file at fault is named; every run here uses it.

    OpenCV decodes what is left of a file that was cut off and fills the rest with grey; here that is an error.

    Args:
        in_memory: Read every file once and keep its pixels: for small data sets and GPUs that outrun the decoder. Every
            process that loads data keeps its own.
        kwargs: See :class:`mmcv.transforms.LoadImageFromFile`.

    Raises:
        DataError: When called: the file is missing, empty, cut off, no image, or huge. With ``ignore_empty`` the
            result is None instead.
    """

    def __init__(self, *args: Any, in_memory: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_memory = in_memory
        self.kept: dict[str, np.ndarray] = {}

    def transform(self, results: dict) -> dict | None:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        try:
            image = self._kept(path) if self.in_memory else self._read(path)
        except DataError:
            if self.ignore_empty:
                return None
            raise
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _kept(self, path: str) -> np.ndarray:
        if path not in self.kept:
            self.kept[path] = self._read(path)
        return self.kept[path].copy()  # transforms may write into it

    def _read(self, path: str) -> np.ndarray:
        try:
            content = fileio.get(path, backend_args=self.backend_args or self.file_client_args)
        except FileNotFoundError:
            raise DataError(f'image {path}: does not exist') from None
        except OSError as error:
            raise DataError(f'image {path}: cannot be read ({error.strerror})') from error
        fault = fault_of(io.BytesIO(content))
        if fault:
            raise DataError(f'image {path}: {fault}')
        try:
            image = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        except Exception as error:
            raise DataError(f'image {path}: cannot be decoded ({type(error).__name__})') from error
        if image is None:
            raise DataError(f'image {path}: cannot be decoded')
        return image


@functools.cache
def install() -> None:
    """Put it in the place of mmcv's in the registries of all frameworks."""
    import mmpretrain.datasets.transforms  # noqa: F401  (registers mmcv's under its own scope, which must come first)
    from mmpretrain.registry import TRANSFORMS as MMPRETRAIN_TRANSFORMS

    for registry in (ROOT_TRANSFORMS, MMPRETRAIN_TRANSFORMS):
        registry.register_module(name='LoadImageFromFile', module=LoadImageFromFile, force=True)
