"""Ends a run in good order when the scheduler wants its machine back."""

import signal
import threading
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from ..errors import PreemptedError
from ..registry import HOOKS
from .safe_checkpoint_hook import SafeCheckpointHook


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM: finish the step, save, and stop with :class:`~hgkd_mm.errors.PreemptedError` (exit code 75).

    In a distributed run all processes stop after the same step, whichever of them got the signal. A second signal ends
    the process at once.

    Args:
        signals: Names of the signals.
    """

    # After everything that belongs to the step.
    priority = 'LOWEST'

    def __init__(self, signals: tuple[str, ...] = ('SIGTERM',)) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self.received: signal.Signals | None = None
        self.previous: dict[signal.Signals, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._note) for number in self.signals}

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._restore()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop when asked to."""
        asked = torch.tensor(int(self.received is not None))
        if get_world_size() > 1:
            all_reduce(asked, 'max')
        if asked:
            self._stop(runner, lambda hook: hook.save_iteration(runner, runner.iter + 1))

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop when asked to; validation is repeated on resuming. Distributed runs finish it first."""
        if self.received is None or not self.previous or get_world_size() > 1:
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # it has put the averaged weights into the model for validation
                hook.after_val_epoch(runner)
        runner.message_hub.runtime_info.pop('last_validated', None)
        self._stop(runner, lambda hook: hook.save_iteration(runner, runner.iter))

    def _stop(self, runner: Runner, save: Callable) -> None:
        saving = [hook for hook in runner.hooks if isinstance(hook, SafeCheckpointHook)]
        what = f'saved as {save(saving[0])}; go on with --resume' if saving else 'the run saves no checkpoints'
        name = self.received.name if self.received else 'a signal to another process'
        self._restore()
        raise PreemptedError(f'{runner.work_dir}: stopped by {name}: {what}')

    def _note(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
