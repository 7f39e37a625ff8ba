"""Ends a run in good order when the scheduler wants its machine back."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..errors import PreemptedError, StorageError
from ..registry import HOOKS
from .safe_checkpoint_hook import SafeCheckpointHook


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM: finish the step, save, and stop with :class:`~hgkd_mm.errors.PreemptedError` (exit code 75).

    In a distributed run all processes stop after the same step, whichever of them got the signal, and stay until the
    checkpoint is there. Further signals of the kind change nothing, also while the process ends: a launcher passes on
    what the scheduler has sent to every process already, and sends its own to those that are left.

    Args:
        signals: Names of the signals.
    """

    # After everything that belongs to the step.
    priority = 'LOWEST'

    def __init__(self, signals: tuple[str, ...] = ('SIGTERM',)) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self.received: signal.Signals | None = None
        self.previous: dict[signal.Signals, Any] = {}  # handlers, while listening

    def before_train(self, runner: Runner) -> None:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._note) for number in self.signals}

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop when asked to."""
        if self._asked():
            self._stop(runner, lambda hook: hook.save_iteration(runner, runner.iter + 1))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop when asked to; validation is repeated on resuming."""
        if not self.previous or not _all_have_batch(batch_idx, runner.val_dataloader) or not self._asked():
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # it has put the averaged weights into the model for validation
                hook.after_val_epoch(runner)
        runner.message_hub.runtime_info.pop('last_validated', None)
        self._stop(runner, lambda hook: hook.save_iteration(runner, runner.iter))

    def _asked(self) -> bool:
        asked = torch.tensor(int(self.received is not None))
        if get_world_size() > 1:
            all_reduce(asked, 'max')
        return bool(asked)

    def _stop(self, runner: Runner, save: Callable) -> None:
        for number in self.previous:
            signal.signal(number, signal.SIG_IGN)
        self.previous = {}
        name = self.received.name if self.received else 'a signal to another process'
        saving = [hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)]
        try:
            what = f'saved as {save(saving[0])}; go on with --resume' if saving else 'the run saves no checkpoints'
        except OSError as error:  # else the run would go on without it
            raise StorageError(
                f'{runner.work_dir}: stopped by {name}, but nothing could be saved: {error}. Make room, then go on '
                'from the checkpoint before with --resume'
            ) from error
        barrier()  # the launcher ends the others as soon as one is gone
        raise PreemptedError(f'{runner.work_dir}: stopped by {name}: {what}')

    def _note(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)


def _all_have_batch(index: int, loader: DataLoader) -> bool:
    """Say whether every process surely has so many batches of a data set, be its share rounded up or not."""
    if get_world_size() == 1:
        return True
    if loader.batch_size is None:
        return False
    return index < len(loader.dataset) // get_world_size() // loader.batch_size  # type: ignore[arg-type]
