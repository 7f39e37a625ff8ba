"""Draws which patches of an image the student may see."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from ...errors import ConfigError
from ...registry import TRANSFORMS


def random_patch_mask(rows: int, columns: int, mask_ratio: float) -> np.ndarray:
    """Draw a uniformly random mask from numpy's global generator.

    Args:
        rows: Patches from top to bottom.
        columns: Patches from left to right.
        mask_ratio: Share of hidden patches, in ``[0, 1)``; the number is rounded and one stays visible.

    Returns:
        Boolean ``(rows, columns)``, True where visible.
    """
    total = rows * columns
    visible = np.arange(total) < max(1, round(total * (1 - mask_ratio)))
    return np.random.permutation(visible).reshape(rows, columns)


@TRANSFORMS.register_module()
class RandomPatchMask(BaseTransform):
    """Add ``visible``, a boolean tensor ``(Hp, Wp)``, for the image as it is at this point of the pipeline.

    Drawn in the pipeline, so that teacher and student agree on it and a resumed run reproduces it.

    Args:
        patch_size: Side of a patch in pixels.
        mask_ratio: Share of hidden patches, in ``[0, 1)``. SparK's is 0.6.

    Raises:
        ConfigError: The ratio is out of range; when called: the image is no whole number of patches.
    """

    def __init__(self, patch_size: int = 32, mask_ratio: float = 0.6) -> None:
        if not 0 <= mask_ratio < 1:
            raise ConfigError(f'RandomPatchMask: mask_ratio={mask_ratio}, expected a share in [0, 1)')
        self.patch_size = patch_size
        self.mask_ratio = mask_ratio

    def transform(self, results: dict) -> dict:
        """Add key ``visible``."""
        height, width = results['img'].shape[:2]
        if height % self.patch_size or width % self.patch_size:
            raise ConfigError(
                f'RandomPatchMask: {results.get("img_path", "the image")} is {height}x{width} px here, '
                f'no multiple of patch_size={self.patch_size}: crop or resize it before'
            )
        mask = random_patch_mask(height // self.patch_size, width // self.patch_size, self.mask_ratio)
        results['visible'] = torch.from_numpy(mask)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(patch_size={self.patch_size}, mask_ratio={self.mask_ratio})'
