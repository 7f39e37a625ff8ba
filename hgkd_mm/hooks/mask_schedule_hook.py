"""Changes how much the student sees: over the training, or of some images of every batch."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..datasets.mask_schedule import MaskSchedule
from ..datasets.transforms import random_patch_mask
from ..errors import ConfigError
from ..registry import HOOKS


@HOOKS.register_module()
class MaskScheduleHook(Hook):
    """Draw the masks anew by a schedule, and show the first images of every batch whole.

    The teacher is asked after it, so both see the same. Batches are shuffled, so their first images are any. A whole
    image goes through the same sparse engine, which computes what the dense network does; its tokens count as visible.

    Args:
        mask_ratio: See :class:`~hgkd_mm.datasets.mask_schedule.MaskSchedule`.
        unmasked_share: See there.

    Raises:
        ConfigError: See there; in training: the samples have no masks.
    """

    priority = 'ABOVE_NORMAL'  # before the TeacherHook

    def __init__(self, mask_ratio: Sequence[Sequence[float]] | None = None, unmasked_share: float = 0.0) -> None:
        self.schedule = MaskSchedule(mask_ratio, unmasked_share)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Change ``visible`` of the batch's data samples."""
        samples = data_batch['data_samples']
        if any(sample.get('visible') is None for sample in samples):
            raise ConfigError(
                "MaskScheduleHook: data samples have no mask: add dict(type='hgkd_mm.RandomPatchMask', ...) to the "
                "training pipeline and algorithm_keys=['visible'] to PackInputs"
            )
        ratio = self.schedule.ratio(runner.iter / runner.max_iters)
        if ratio is not None:  # the training loop has seeded numpy for this step
            for sample in samples:
                rows, columns = sample.visible.shape
                sample.set_field(torch.from_numpy(random_patch_mask(rows, columns, ratio)), 'visible')
        for sample in samples[: self.schedule.num_unmasked(len(samples))]:
            sample.set_field(torch.ones_like(sample.visible), 'visible')
