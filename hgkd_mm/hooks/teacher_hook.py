"""Runs the frozen teacher beside the training, outside the model."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.views import DatasetViews
from ..errors import ConfigError
from ..models.teachers.cached import check_one_view, open_cache
from ..models.teachers.group import TeacherGroup
from ..registry import HOOKS


@HOOKS.register_module()
class TeacherHook(Hook):
    """Put the teacher's tokens of every training image into its data sample, as ``teacher_tokens`` ``(C, h, w)``.

    So checkpoints stay student-sized, DDP never sees frozen parameters, and cached tokens are the same data from
    another source. Where a teacher's target is not 'full', ``teacher_defined`` ``(h, w)`` says which tokens mean
    something. With several targets (layers, teachers) both are lists, and the head is a ``SeveralTargetsHead``.

    Args:
        teacher: Config of the teacher, e.g. ``dict(type='hgkd_mm.ViTTeacher', ...)``, or a list of several.
        cache_dir: Folder for cached tokens; None runs the teacher live. Needs ``hgkd_mm.FixedViews`` in the
            training pipeline and ``view_id`` among PackInputs' ``meta_keys``. ``tools/cache_teacher.py`` fills it;
            what it lacks is computed as it comes up, and added unless several processes train.

    Raises:
        ConfigError: When training starts: a cache without fixed views, or of tokens that depend on the mask.
        DataError: When training starts or goes on: the cache belongs to something else, is stale or damaged.
    """

    priority = 'NORMAL'

    def __init__(self, teacher: dict | list[dict], cache_dir: str | None = None) -> None:
        self.teacher_cfg = teacher
        self.cache_dir = cache_dir
        # Both are made when training starts; Any, for mmengine builds whatever the config names.
        self.teacher: Any = None
        self.cache: Any = None

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and open the cache."""
        self.teacher = TeacherGroup(self.teacher_cfg).to(next(runner.model.parameters()).device)
        if self.cache_dir is not None:
            views = DatasetViews(runner.train_dataloader.dataset)
            self.cache = open_cache(self.cache_dir, self.teacher, views)
            check_one_view(self.cache, self.teacher, views)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Add ``teacher_tokens``, and ``teacher_defined`` if need be, to each data sample of the batch."""
        inputs, samples = data_batch['inputs'], data_batch['data_samples']
        inputs = torch.stack(list(inputs)) if isinstance(inputs, list | tuple) else inputs
        defined: list[Tensor | None] = []
        if self.cache is None:
            visible = _masks(samples)
            targets = self.teacher(inputs, visible)
            defined = self.teacher.defined(visible)
        else:
            targets = self._cached(inputs, _view_ids(samples))
        _put(samples, 'teacher_tokens', targets, self.teacher.is_single)
        if any(part is not None for part in defined):
            _put(samples, 'teacher_defined', defined, self.teacher.is_single)

    def _cached(self, inputs: Tensor, views: Tensor) -> list[Tensor]:
        missing = self.cache.missing(views)
        if not missing.any():
            return self.cache.read(views)
        fresh = [part.cpu() for part in self.teacher(inputs[missing])]
        if get_world_size() == 1:  # on a shared disk, several writers would undo each other's work
            self.cache.write(views[missing], fresh)
            return self.cache.read(views)
        targets = [torch.empty(len(views), *shape) for shape in self.cache.shapes]
        known = self.cache.read(views[~missing])
        for target, old, new in zip(targets, known, fresh, strict=True):
            target[~missing], target[missing] = old, new
        return targets

    def after_train(self, runner: Runner) -> None:
        """Bring what was added to the disk."""
        if self.cache is not None:
            self.cache.flush()


def _masks(samples: list) -> Tensor | None:
    masks = [sample.get('visible') for sample in samples]
    return None if any(mask is None for mask in masks) else torch.stack(masks)


def _view_ids(samples: list) -> Tensor:
    views = [sample.get('view_id') for sample in samples]
    if any(view is None for view in views):
        raise ConfigError("TeacherHook: data samples have no view_id: add it to PackInputs' meta_keys")
    return torch.tensor(views)


def _put(samples: list, name: str, targets: list[Tensor | None], is_single: bool) -> None:
    for number, sample in enumerate(samples):
        parts = [None if target is None else target[number] for target in targets]
        sample.set_field(parts[0] if is_single else parts, name)
