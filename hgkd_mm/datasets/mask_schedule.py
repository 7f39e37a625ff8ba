"""How much of an image is hidden at which time of training."""

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError


class MaskSchedule:
    """Mask ratio as a function of the progress of training, and a share of images that are not masked.

    Args:
        mask_ratio: Points (share of the training that is done, share of hidden patches), joined by straight lines;
            ``[(0, 0.3), (0.5, 0.75)]`` rises for half of the training and stays. None: the ratio of the data pipeline.
        unmasked_share: Share of the images of every batch that are shown whole, in ``[0, 1]``; their number is rounded.

    Raises:
        ConfigError: A share or ratio is out of range, or the points are not in order.
    """

    def __init__(self, mask_ratio: Sequence[Sequence[float]] | None = None, unmasked_share: float = 0.0) -> None:
        if not isinstance(unmasked_share, int | float) or not 0 <= unmasked_share <= 1:
            raise ConfigError(f'mask schedule: unmasked_share={unmasked_share!r}, expected a share in [0, 1]')
        self.unmasked_share = unmasked_share
        self.points = None if mask_ratio is None else _checked(mask_ratio)

    def ratio(self, progress: float) -> float | None:
        """Return the share of hidden patches when the share ``progress`` of training is done; None = the pipeline's."""
        return None if self.points is None else float(np.interp(progress, *self.points.T))

    def num_unmasked(self, batch_size: int) -> int:
        """Return how many images of a batch are shown whole."""
        return round(self.unmasked_share * batch_size)

    def mean_ratio(self, of_pipeline: float | None) -> float | None:
        """Return the share of patches that is hidden over the whole training and all images.

        Args:
            of_pipeline: The data pipeline's ratio.
        """
        ratio = of_pipeline
        if self.points is not None:
            times = np.unique([0, *self.points[:, 0], 1])
            ratios = np.interp(times, *self.points.T)
            ratio = float(np.sum(np.diff(times) * (ratios[1:] + ratios[:-1]) / 2))
        return None if ratio is None else round(ratio * (1 - self.unmasked_share), 6)


def _checked(mask_ratio: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the points as an array ``(N, 2)``."""
    try:
        points = np.array(mask_ratio, dtype=float)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ConfigError(f'mask schedule: mask_ratio={mask_ratio!r}, expected points (share of training, ratio)')
    times, ratios = points.T
    in_order = (np.diff(times) > 0).all() and times[0] >= 0 and times[-1] <= 1
    if not (in_order and (ratios >= 0).all() and (ratios < 1).all()):
        raise ConfigError(
            f'mask schedule: mask_ratio={mask_ratio!r}, expected times rising within [0, 1] and ratios in [0, 1)'
        )
    return points
