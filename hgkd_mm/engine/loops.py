"""mmengine's training loops, made exact: a run that is killed anywhere and resumed computes what it would have."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine import registry as root
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import DataError
from ..seeding import BETWEEN, STEP, seed_everything
from .sampler import ResumableBatchSampler, build_train_dataloader

LOOPS = root.Registry('loop', parent=root.LOOPS, scope='hgkd_mm', locations=['hgkd_mm.engine'])


#: Newest values of each logged number that are kept; mmengine keeps a million, copies them all every iteration, and
#: writes them into every checkpoint.
LOG_LENGTH = 10_000
#: In the message hub: the iteration after which a checkpoint's run had validated.
VALIDATED = 'last_validated'  # not val...: that would go into the log of every validation


class _Exact:
    """What both loops share: the loader, the seeds, and validation made up for.

    Args:
        runner: The runner.
        dataloader: Config of the training loader, or the loader.
        kwargs: Of mmengine's loop.
    """

    runner: Runner
    dataloader: DataLoader
    val_begin: int
    val_interval: int
    max_epochs: int
    max_iters: int
    epoch: int
    iter: int

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, self._loader(runner, dataloader), **kwargs)  # type: ignore[call-arg]

    def _loader(self, runner: Runner, dataloader: DataLoader | dict) -> DataLoader:
        seed = runner.seed
        if runner._randomness_cfg.get('diff_rank_seed', False):
            seed -= get_rank()
        self.seed = seed
        loader: Any = build_train_dataloader(dataloader, seed) if isinstance(dataloader, dict) else dataloader
        if len(loader) == 0:
            raise DataError(
                f'train_dataloader gives no batch: {len(loader.dataset)} samples are less than a batch; use a smaller '
                'batch_size or drop_last=False'
            )
        return loader

    def _seed_step(self) -> None:
        seed_everything(STEP, self.seed, self.iter, get_rank())
        if self.iter % 1000 == 0:
            for buffer in self.runner.message_hub.log_scalars.values():
                buffer.max_length = LOG_LENGTH

    def _seed_between(self) -> None:
        seed_everything(BETWEEN, self.seed, self.iter, get_rank())

    def _start(self, epoch: int, first: int = 0) -> None:
        """Let the loader begin with batch ``first`` of ``epoch``."""
        sampler = self.dataloader.batch_sampler
        if isinstance(sampler, ResumableBatchSampler):
            sampler.start(epoch, first)
        elif first:
            print_log(
                'train_dataloader was built elsewhere: the resumed run begins the epoch with its first batch',
                logger='current',
                level=logging.WARNING,
            )

    def _finish(self) -> nn.Module:
        self._start(self.max_epochs)  # hooks that read training data now see the same in every run
        self._seed_between()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate(self, done: int, of: int) -> None:
        """Validate when it is due after ``done`` of ``of`` epochs or iterations."""
        self._decide_current_val_interval()  # type: ignore[attr-defined]
        due = done >= self.val_begin and (done % self.val_interval == 0 or done == of)
        hub = self.runner.message_hub
        if due and self.runner.val_loop is not None and hub.runtime_info.get(VALIDATED) != self.iter:
            hub.update_info(VALIDATED, self.iter)  # for what is saved after it
            self._seed_between()
            self.runner.val_loop.run()


@LOOPS.register_module()
class ExactEpochLoop(_Exact, EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, which goes on within an epoch."""

    def run(self) -> nn.Module:
        """Train."""
        self.runner.call_hook('before_train')
        if self._iter > 0 and self._consumed() == 0:
            # the run may have been killed between the checkpoint of an epoch and its validation
            self._validate(self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate(self._epoch, self._max_epochs)
        return self._finish()

    def run_epoch(self) -> None:
        """Train an epoch, or what is left of it."""
        first = self._consumed()
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._start(self._epoch, first)
        for index, batch in enumerate(self.dataloader, first):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train a step."""
        self._seed_step()
        super().run_iter(idx, data_batch)

    def _consumed(self) -> int:
        """Return the batches of the current epoch that were trained on already."""
        consumed = self._iter - self._epoch * len(self.dataloader)
        if 0 <= consumed <= len(self.dataloader):
            return consumed
        print_log(
            f'the checkpoint is of iteration {self._iter} in epoch {self._epoch + 1}, but an epoch has '
            f'{len(self.dataloader)} iterations now: batch size, data or processes changed; the epoch begins again',
            logger='current',
            level=logging.WARNING,
        )
        return 0


@LOOPS.register_module()
class ExactIterLoop(_Exact, IterBasedTrainLoop):
    """mmengine's ``IterBasedTrainLoop``, which skips what was trained on without loading it."""

    def run(self) -> nn.Module:
        """Train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter > 0:
            self._validate(self._iter, self._max_iters)
        batches = self._batches()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(batches))
            self._validate(self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        return self._finish()

    def run_iter(self, data_batch: Sequence[dict]) -> None:
        """Train a step."""
        self._seed_step()
        super().run_iter(data_batch)

    def _batches(self) -> Iterator[Sequence[dict]]:
        sampler = self.dataloader.batch_sampler
        endless = isinstance(sampler, ResumableBatchSampler) and sampler.endless
        epoch, first = (0, self._iter) if endless else divmod(self._iter, len(self.dataloader))
        while True:
            self._start(epoch, first)
            yield from self.dataloader
            epoch, first = epoch + 1, 0
