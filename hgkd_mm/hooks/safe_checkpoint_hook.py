"""Checkpoints that survive what can happen while they are written."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..engine.network import network_of
from ..registry import HOOKS
from ..transfer.plain import make_plain
from ..utils import atomic_write

_ITERATION = 'iter_{}.pth'
#: In the message hub: files that go once the checkpoint is there; a killed process may not have come to it.
_OUTDATED = 'outdated_ckpts'
#: In the message hub, as mmengine has it: the best checkpoint; with several metrics ``best_ckpt_METRIC``.
_BEST = 'best_ckpt'
#: What a killed process leaves of :func:`hgkd_mm.utils.atomic_write`.
_LEFT_OVER = re.compile(r'\.(epoch|iter|best)_.*\.pth')


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``; takes its place in every run of ``tools/train.py``.

    What is different: a file appears whole, with its checksum, or not at all; the one before, or the best so far, goes
    when the new one is there, not earlier; ``last_checkpoint`` is replaced as a whole; gradients accumulated so far are
    kept; checkpoints within an epoch; nothing but tensors, numbers and text is in them.

    Args:
        save_every: Also save every so many iterations, as ``iter_*.pth``; None does not.
        keep: Newest so many of these are kept, until training is complete.
        kwargs: Of ``CheckpointHook``.
    """

    def __init__(self, *args: Any, save_every: int | None = None, keep: int = 2, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.save_every = save_every
        self.keep = keep
        #: Best checkpoints of before: they go when a checkpoint that names the new ones is there.
        self.replaced: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Find the folder; remove what a killed process left half-written."""
        super().before_train(runner)
        if runner.iter > 0:  # a best checkpoint found right after resuming is noted in it
            self.last_ckpt = runner.message_hub.runtime_info.get('last_ckpt')
        if is_main_process() and Path(self.out_dir).is_dir():
            for path in Path(self.out_dir).iterdir():
                if _LEFT_OVER.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            for name in runner.message_hub.runtime_info.get(_OUTDATED, []):
                self._remove(name)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Save within an epoch, when it is time."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.by_epoch and self.save_every and self.every_n_train_iters(runner, self.save_every):
            self.save_iteration(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Remove the checkpoints within epochs: the last one of all is there."""
        super().after_train(runner)
        hub = runner.message_hub
        steps = [_ITERATION.format(step) for step in hub.runtime_info.get('iteration_ckpts', [])]
        last = Path(self.last_ckpt or '')
        # where the last epoch's could not be written, one of them is all there is
        if is_main_process() and self.by_epoch and last.is_file() and last.name not in steps:
            for name in steps:
                self._remove(name)

    def save_iteration(self, runner: Runner, iterations: int) -> Path:
        """Save now, after ``iterations`` iterations.

        Returns:
            The file.
        """
        meta = dict(epoch=runner.epoch, iter=iterations)
        if self.by_epoch:
            return self._save(runner, iterations, meta, _ITERATION, 'iteration_ckpts', self.keep)
        return self._save(runner, iterations, meta, self.filename_tmpl, 'keep_ckpt_ids', self.max_keep_ckpts)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._save(runner, step, meta, self.filename_tmpl, 'keep_ckpt_ids', self.max_keep_ckpts)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        hub = runner.message_hub
        before = {info: value for info, value in hub.runtime_info.items() if info.startswith('best_')}
        self.replaced |= _best_files(runner)
        self._set_best({})  # of what mmengine does not know it removes nothing
        try:
            super()._save_best_checkpoint(runner, metrics)
        except OSError:
            for info in [info for info in hub.runtime_info if info.startswith(_BEST)]:
                if not self.file_backend.exists(hub.get_info(info)):
                    for name in (info, info.replace(_BEST, 'best_score')):
                        _restore(runner, name, before.get(name))
            raise
        finally:
            self._set_best(hub.runtime_info)
        if self.last_ckpt is None and is_main_process():  # else it goes with the next checkpoint
            for name in self._pop_replaced(runner):
                self._remove(name)

    def _set_best(self, infos: Mapping[str, Any]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = infos.get(_BEST)
        else:
            self.best_ckpt_path_dict = {key: infos.get(f'{_BEST}_{key}') for key in self.key_indicators}

    def _pop_replaced(self, runner: Runner) -> list[str]:
        names = [Path(path).name for path in sorted(self.replaced - _best_files(runner))]
        self.replaced.clear()
        return names

    def _save(self, runner: Runner, step: int, meta: dict, template: str, key: str, keep: int) -> Path:
        hub, name = runner.message_hub, template.format(step)
        before = {info: hub.runtime_info.get(info) for info in (key, 'last_ckpt')}
        steps = [known for known in before[key] or [] if known != step] + [step]
        kept = steps[-keep:] if keep > 0 else steps
        replaced = set(self.replaced)
        outdated = [template.format(number) for number in steps[: -len(kept)]] + self._pop_replaced(runner)
        path = Path(self.file_backend.join_path(self.out_dir, name))
        hub.update_info(key, kept)
        hub.update_info('last_ckpt', str(path))
        hub.update_info(_OUTDATED, outdated)
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                with atomic_write(Path(runner.work_dir, 'last_checkpoint')) as temporary:
                    temporary.write_bytes(os.fsencode(path))
        except OSError:
            self.replaced = replaced
            for info, value in before.items():
                _restore(runner, info, value)
            raise
        self.last_ckpt = str(path)
        if is_main_process():
            for outdated_name in outdated:
                self._remove(outdated_name)
        return path

    def _remove(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # deepspeed's are folders
            self.file_backend.rmtree(path)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add gradients that wait for the rest of their accumulation; keep out what only an unpickler could read."""
        make_plain(checkpoint)
        # those of other processes are not known here
        if getattr(runner.optim_wrapper, '_accumulative_counts', 1) > 1 and get_world_size() == 1:
            pending = {name: p.grad.cpu() for name, p in _parameters(runner) if p.grad is not None}
            if pending:
                checkpoint['gradients'] = pending

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put such gradients back."""
        pending = (checkpoint.get('gradients') if runner._resume else None) or {}
        for name, parameter in _parameters(runner):
            if name in pending:
                parameter.grad = pending[name].to(parameter.device)


def _parameters(runner: Runner) -> list:
    model = network_of(runner)
    return list(model.named_parameters())


def _best_files(runner: Runner) -> set[str]:
    return {str(path) for info, path in runner.message_hub.runtime_info.items() if info.startswith(_BEST)}


def _restore(runner: Runner, info: str, value: Any) -> None:
    if value is None:
        runner.message_hub.runtime_info.pop(info, None)
    else:
        runner.message_hub.update_info(info, value)
