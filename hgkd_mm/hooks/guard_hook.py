"""Stops a run whose numbers went wrong, before the weights are spoilt, and keeps what is needed to look into it."""

import io
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from ..engine.network import network_of
from ..errors import NumericsError
from ..models.student import Student
from ..registry import HOOKS
from ..transfer.batch import pack
from ..transfer.checkpoint import seal
from ..utils import atomic_write


def spread(features: Tensor) -> float:
    """Return the standard deviation over samples and positions, relative to the size of the values.

    Args:
        features: ``(B, C, ...)``.

    Returns:
        Mean over channels of the deviation, over the root mean square of all values; 0 when all are equal.
    """
    values = features.detach().float().transpose(0, 1).flatten(1)
    size = values.square().mean().sqrt()
    return (values.std(1, correction=0).mean() / size).item() if size > 0 else 0.0


@HOOKS.register_module()
class GuardHook(Hook):
    """Stop with a :class:`~hgkd_mm.errors.NumericsError` (exit code 70) when training makes no sense any more.

    - A loss or, before it is applied, a gradient is not finite. With float16 the loss scaler skips such steps; then
      ``amp_patience`` in a row are too many.
    - In pretraining: the student's decoded features are the same everywhere (``patience`` looks in a row), or the
      teacher's targets are.

    ``<work_dir>/guard_iter_N.pth`` then holds the weights, the batch and the seeds: ``tools/replay.py`` repeats the
    step and names the layer where it first went wrong.

    Args:
        interval: Iterations between looks at features and targets.
        patience: Looks in a row at a collapsed student.
        min_spread: Smallest :func:`spread` of features and targets.
        amp_patience: Steps in a row without a finite loss under a loss scaler.
    """

    # Before hooks that save, log or step schedules.
    priority = 'HIGH'

    def __init__(self, interval: int = 50, patience: int = 3, min_spread: float = 1e-4, amp_patience: int = 20) -> None:
        self.interval = interval
        self.patience = patience
        self.min_spread = min_spread
        self.amp_patience = amp_patience
        self.batch: Any = None
        self.decoded: Tensor | None = None
        self.collapsed = self.overflows = 0

    def before_train(self, runner: Runner) -> None:
        """Look at gradients before every step of the optimizer, and at the student's features."""
        self.looking = False
        wrapper = runner.optim_wrapper
        self.scaled = isinstance(wrapper, AmpOptimWrapper)
        for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            if not isinstance(one, AmpOptimWrapper):
                one.optimizer.register_step_pre_hook(lambda optimizer, *_: self._check_gradients(runner, optimizer))
        model = network_of(runner)
        if isinstance(model, Student):
            model.neck.register_forward_hook(self._see)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Remember the batch."""
        self.batch = data_batch
        self.looking = runner.iter % self.interval == 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the loss; every ``interval`` iterations at features and targets."""
        loss = (outputs or {}).get('loss')
        finite = loss is None or bool(torch.as_tensor(loss).isfinite().all())
        self.overflows = 0 if finite else self.overflows + 1
        if not finite and self.overflows >= (self.amp_patience if self.scaled else 1):
            self._stop(runner, f'the loss is {torch.as_tensor(loss).item():g}')
        if self.looking:
            self._look(runner, data_batch)
        self.decoded = None

    def _look(self, runner: Runner, batch: Any) -> None:
        samples = batch.get('data_samples') if isinstance(batch, dict) else None
        tokens = [s.get('teacher_tokens') for s in samples or [] if hasattr(s, 'get')]
        if tokens and all(isinstance(token, Tensor) for token in tokens):
            found = spread(torch.stack(tokens))
            if not found >= self.min_spread:
                self._stop(runner, f"the teacher's targets are the same everywhere (spread {found:.2g})")
        if self.decoded is not None:
            found = spread(self.decoded)
            self.collapsed = 0 if found >= self.min_spread else self.collapsed + 1
            if self.collapsed >= self.patience:
                self._stop(runner, f"the student has collapsed: its features' spread is {found:.2g}")

    def _see(self, module: Any, arguments: Any, output: Any) -> None:
        if self.looking and isinstance(output, Tensor):
            self.decoded = output.detach()

    def _check_gradients(self, runner: Runner, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        if not gradients or torch.stack([norm.float() for norm in torch._foreach_norm(gradients)]).sum().isfinite():
            return
        names = [
            n for n, p in network_of(runner).named_parameters() if p.grad is not None and not p.grad.isfinite().all()
        ]
        self._stop(runner, f'the gradients of {len(names)} parameters are not finite ({", ".join(names[:3])}, ...)')

    def _stop(self, runner: Runner, reason: str) -> None:
        rank = get_rank()
        path = Path(runner.work_dir, f'guard_iter_{runner.iter}{f"_rank_{rank}" if get_world_size() > 1 else ""}.pth')
        seed = runner.seed - (rank if runner._randomness_cfg.get('diff_rank_seed', False) else 0)
        meta = {'reason': reason, 'iter': runner.iter, 'epoch': runner.epoch, 'seed': seed, 'rank': rank}
        state = {key: value.detach().cpu() for key, value in network_of(runner).state_dict().items()}
        buffer = io.BytesIO()
        torch.save({'state_dict': state, 'batch': pack(self.batch), 'meta': meta}, buffer)
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(seal(buffer.getvalue()))
            kept = f'{path} holds the step: python tools/replay.py {runner.cfg.filename or "CONFIG"} {path}'
        except OSError as error:
            kept = f'the step could not be saved ({error})'
        raise NumericsError(f'{runner.work_dir}: iteration {runner.iter}: {reason}. {kept}')
