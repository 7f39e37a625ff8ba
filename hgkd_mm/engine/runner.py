"""mmengine's runner with what makes a run safe by default: exact loops, sealed checkpoints, guards, clean stops."""

import contextlib
import errno
import functools
import logging
import os
from pathlib import Path
from typing import Any

from mmengine import registry as root
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ..errors import StorageError
from ..utils import atomic_write
from .loops import ExactEpochLoop, ExactIterLoop
from .optim import merge_param_groups
from .sampler import init_other_worker

RUNNERS = root.Registry('runner', parent=root.RUNNERS, scope='hgkd_mm', locations=['hgkd_mm.engine'])

#: What a full, broken or read-only disk answers.
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)
#: Where a hook that cannot write does not stop the run: what it writes is not needed to go on.
_TOLERANT = ('after_train_iter', 'after_train_epoch', 'after_val_iter', 'after_val_epoch', 'after_train')
_LOOPS = {'EpochBasedTrainLoop': ExactEpochLoop, 'IterBasedTrainLoop': ExactIterLoop}
#: In the work dir: iterations of the training that came to its end here, with validation and everything hooks write.
_COMPLETE = 'complete'
#: Default hooks of mmengine that are replaced, and those that are added.
_REPLACED = {'CheckpointHook': 'hgkd_mm.SafeCheckpointHook'}
_ADDED = {'guard': dict(type='hgkd_mm.GuardHook'), 'preemption': dict(type='hgkd_mm.PreemptionHook')}


@RUNNERS.register_module()
class SafeRunner(Runner):
    """mmengine's ``Runner`` for any config of the three frameworks; what is different is in docs/reliability.md.

    - Training loops of mmengine's types become :class:`ExactEpochLoop` and :class:`ExactIterLoop`.
    - ``CheckpointHook`` becomes :class:`~hgkd_mm.hooks.SafeCheckpointHook`; the guards are added to the default hooks.
    - Parameters with the same options are one group of the optimizer.
    - A file that cannot be written does not end the training, but is told of at its end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: What could not be written so far, in the order it happened.
        self.unwritten: list[str] = []
        super().__init__(*args, **kwargs)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, see :meth:`mmengine.runner.Runner.build_train_loop`."""
        if isinstance(loop, dict) and not {'type', 'by_epoch'} <= set(loop):
            loop = dict(loop)
            by_epoch = loop.pop('by_epoch', True)
            kind = loop.get('type', 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop')
            name = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
            loop['type'] = _LOOPS.get(name, kind)
        return super().build_train_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper | OptimWrapperDict:
        """Build the optimizer, see :meth:`mmengine.runner.Runner.build_optim_wrapper`; like groups are one."""
        wrapper = super().build_optim_wrapper(optim_wrapper)
        for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            merge_param_groups(one.optimizer)
        return wrapper

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a loader, see :meth:`mmengine.runner.Runner.build_dataloader`; its processes outlive SIGTERM."""
        loader = Runner.build_dataloader(dataloader, *args, **kwargs)
        loader.worker_init_fn = functools.partial(init_other_worker, loader.worker_init_fn)
        return loader

    def register_default_hooks(self, hooks: dict[str, Hook | dict] | None = None) -> None:
        """Register the default hooks, see :meth:`mmengine.runner.Runner.register_default_hooks`."""
        chosen: dict[str, Any] = dict(checkpoint=dict(type='CheckpointHook', interval=1), **_ADDED) | (hooks or {})
        for name, hook in chosen.items():
            if isinstance(hook, dict) and (new := _REPLACED.get(str(hook.get('type')).rpartition('.')[2])):
                chosen[name] = {**hook, 'type': new}
        added_away = [name for name in _ADDED if chosen[name] is None]
        super().register_default_hooks({name: hook for name, hook in chosen.items() if name not in added_away})

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks; note what a full disk kept from being written, where the training can go on."""
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                try:
                    getattr(hook, fn_name)(self, **kwargs)
                except OSError as error:
                    if fn_name not in _TOLERANT or error.errno not in STORAGE_ERRORS:
                        raise
                    self._note(hook, error)
                except TypeError as error:
                    raise TypeError(f'{error} in {hook}') from error

    @master_only
    def _note_completion(self) -> None:
        with atomic_write(Path(self.work_dir, _COMPLETE)) as temporary:
            temporary.write_text(f'{self.iter}\n', encoding='utf-8')

    def _note(self, hook: Hook, error: OSError) -> None:
        text = f'{type(hook).__name__} at iteration {self.iter}: {error}'
        self.unwritten.append(text)
        self.logger.log(logging.ERROR, f'NOT WRITTEN: {text}. The training goes on; the exit code will tell')

    def train(self) -> nn.Module:
        """Train.

        Raises:
            StorageError: At the end, when something could not be written.
        """
        forget_completion(self.work_dir)
        model = super().train()
        if not self.unwritten:
            self._note_completion()
        else:
            raise StorageError(
                f'{self.work_dir}: the training is complete, but {len(self.unwritten)} file(s) could not be written, '
                f'the last by {self.unwritten[-1]}. Make room, then go on with --resume to make up for it'
            )
        return model


def completed_iterations(work_dir: str | os.PathLike) -> int | None:
    """Return after how many iterations the training in a work dir came to its end; None when it did not."""
    try:
        return int(Path(work_dir, _COMPLETE).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None


@master_only
def forget_completion(work_dir: str | os.PathLike) -> None:
    """Take the note of completion away: the training goes on, or begins again."""
    with contextlib.suppress(OSError):
        Path(work_dir, _COMPLETE).unlink(missing_ok=True)
