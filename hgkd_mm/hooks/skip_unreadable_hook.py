"""Pretraining goes on over a few unreadable images, and says which."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import ConfigError, DataError
from ..registry import HOOKS
from ..utils import atomic_write

_INFO = 'unreadable_images'
#: Other images that are tried in the place of one.
_ATTEMPTS = 20


class SkippingReader:
    """Reads a sample; in the place of an unreadable one another, drawn from the sample's own random numbers.

    Args:
        queue: What was unreadable goes in here, as text; readable from all processes.
    """

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self, dataset: Any, index: int) -> Any:
        """Return the sample."""
        for _ in range(_ATTEMPTS):
            try:
                return dataset[index]
            except DataError as error:
                self.queue.put(str(error))
                index = int(np.random.randint(len(dataset)))
        raise DataError(f'{_ATTEMPTS} images drawn one after the other are unreadable: check the data set')


@HOOKS.register_module()
class SkipUnreadableHook(Hook):
    """Skip unreadable training images, count them, and stop when they are too many.

    For pretraining, which has no labels to lose; evaluation never skips. Each is told of once in the log, all of them
    in ``<work_dir>/unreadable.txt``. Resumed runs know those from before.

    Args:
        max_share: Largest share of the data set that may be unreadable, in ``[0, 1]``.

    Raises:
        ConfigError: The share is out of range.
        DataError: In training: more images are unreadable; lists them.
    """

    priority = 'NORMAL'

    def __init__(self, max_share: float = 0.01) -> None:
        if not 0 <= max_share <= 1:
            raise ConfigError(f'SkipUnreadableHook: max_share={max_share}, expected a share in [0, 1]')
        self.max_share = max_share
        self.queue: Any = None

    def before_train(self, runner: Runner) -> None:
        """Make the loader go on."""
        dataset = runner.train_dataloader.dataset
        fetch = getattr(dataset, '__getitems__', None)
        if fetch is None:
            raise ConfigError('SkipUnreadableHook: train_dataloader was not built by hgkd_mm.SafeRunner')
        self.queue = multiprocessing.SimpleQueue()
        fetch.read = SkippingReader(self.queue)
        self.limit = int(self.max_share * len(dataset))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Collect what could not be read."""
        known = set(runner.message_hub.runtime_info.get(_INFO, []))
        new = []
        while not self.queue.empty():
            text = self.queue.get()
            if text not in known:
                known.add(text)
                new.append(text)
        for text in new:
            runner.logger.warning(f'skipped: {text}')
        if new:
            runner.message_hub.update_info(_INFO, sorted(known))
            if len(known) > self.limit:
                self._report(runner, sorted(known))
                raise DataError(
                    f'{len(known)} training images are unreadable, more than max_share={self.max_share} of the data '
                    f'set; {runner.work_dir}/unreadable.txt lists them: {"; ".join(sorted(known)[:3])}'
                )

    def after_train(self, runner: Runner) -> None:
        """Report."""
        texts = runner.message_hub.runtime_info.get(_INFO, [])
        if get_world_size() > 1:
            texts = [text for part in all_gather_object(texts) for text in part]
        if texts and is_main_process():
            self._report(runner, sorted(set(texts)))
            runner.logger.warning(
                f'{len(set(texts))} unreadable training images were skipped: {runner.work_dir}/unreadable.txt'
            )

    @staticmethod
    def _report(runner: Runner, texts: list[str]) -> None:
        with atomic_write(Path(runner.work_dir, 'unreadable.txt')) as temporary:
            temporary.write_bytes(os.fsencode(''.join(f'{text}\n' for text in texts)))
