"""The training data's order as a function of epoch and position: it can be taken up anywhere, loading nothing."""

import copy
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch.utils.data import BatchSampler, DataLoader, Sampler

from ..seeding import SAMPLE, seeded

#: What a batch sampler here says about a sample: its index, the epoch, and its place in it over all processes.
Place = tuple[int, int, int]


class ResumableBatchSampler(BatchSampler):
    """Any batch sampler, which can begin at any batch of any epoch and says where each sample stands.

    Args:
        sampler: Of this process's sample indices.
        batch_size: Of this process.
        drop_last: For torch's batch sampler, the default.
        inner: Config of another batch sampler, e.g. mmdet's ``AspectRatioBatchSampler``.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False, inner: dict | None = None) -> None:
        if inner is None:
            self.inner: Any = BatchSampler(sampler, batch_size, drop_last)
        else:
            self.inner = DATA_SAMPLERS.build(inner, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.sampler: Any = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.epoch = 0
        self.first = 0
        self.rank, self.world_size = get_dist_info()

    @property
    def endless(self) -> bool:
        """Whether the sampler never ends an epoch, as mmengine's ``InfiniteSampler``."""
        return hasattr(self.sampler, 'skip')

    def start(self, epoch: int, first: int = 0) -> None:
        """Let the next iteration begin with batch ``first`` of ``epoch``."""
        self.epoch, self.first = epoch, first
        if self.endless:
            self.sampler.skip(0)  # its stream is one generator: begin a new one
        elif hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[Place]]:  # type: ignore[override]
        epoch, first, place = self.epoch, self.first, 0
        self.first = 0
        for number, batch in enumerate(self.inner):
            if number >= first:
                yield [(index, epoch, (place + i) * self.world_size + self.rank) for i, index in enumerate(batch)]
            place += len(batch)

    def __len__(self) -> int:
        return len(self.inner)


class SeededFetch:
    """Reads a batch of a data set; each sample's random numbers depend on seed, epoch and place alone.

    Put on a data set as ``__getitems__``, which torch's loader calls with what the batch sampler gave. The places are
    counted over all processes, so a sample looks the same however a batch is split over workers and processes.

    Args:
        dataset: Map-style data set.
        seed: Of the run, equal in all processes.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        #: Takes ``(dataset, index)`` and returns the sample; a hook may put one here that survives bad files.
        self.read: Callable[[Any, int], Any] = _read

    def __call__(self, places: Sequence[Place]) -> list:
        """Read the samples of a batch."""
        samples = []
        for index, epoch, place in places:
            with seeded(SAMPLE, self.seed, epoch, place):
                samples.append(self.read(self.dataset, index))
        return samples


def _read(dataset: Any, index: int) -> Any:
    return dataset[index]


def outlive_sigterm() -> None:
    """Let a data loading process take SIGTERM from its own training alone.

    Slurm sends one to every process of a job, ``torchrun`` another to those of each rank; the training still needs this
    one to come to a clean stop, and ends it itself.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_await_own_end, daemon=True).start()


def _await_own_end() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def init_other_worker(then: Callable[[int], None] | None, worker_id: int) -> None:
    """Prepare a data loading process of validation and the like, then do what mmengine does."""
    outlive_sigterm()
    if then is not None:
        then(worker_id)


def init_worker(worker_id: int, disable_subprocess_warning: bool = False) -> None:
    """Prepare a data loading process of training, whose random numbers come with the samples."""
    outlive_sigterm()
    if disable_subprocess_warning and worker_id != 0:
        warnings.simplefilter('ignore')


def build_train_dataloader(config: dict, seed: int) -> DataLoader:
    """Build a training loader whose order and samples can be taken up anywhere.

    Args:
        config: As ``train_dataloader`` of a config.
        seed: Of the run, equal in all processes.

    Returns:
        A loader with a :class:`ResumableBatchSampler`.
    """
    config = copy.deepcopy(config)
    config['batch_sampler'] = dict(
        type=ResumableBatchSampler, inner=config.pop('batch_sampler', None), drop_last=config.pop('drop_last', False)
    )
    quiet = config.pop('disable_subprocess_warning', False)
    config.setdefault('worker_init_fn', dict(type=init_worker, disable_subprocess_warning=quiet))
    loader = Runner.build_dataloader(config, seed=seed)
    loader.dataset.__getitems__ = SeededFetch(loader.dataset, seed)
    return loader
