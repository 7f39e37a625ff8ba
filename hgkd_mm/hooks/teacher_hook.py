"""Runs the frozen teacher beside the training, outside the model."""

from typing import Any

import numpy as np
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
        shuffle_targets: A control: each view gets the tokens of a view of another image, the same one throughout and in
            every run on as many images. So targets keep their distribution and lose their meaning. Needs ``cache_dir``,
            whose cache stays what it is.
        in_memory: Keep cached tokens on the model's device, in float16 as the cache has them, from when they are first
            used: for small data sets and GPUs that outrun the CPU.

    Raises:
        ConfigError: When training starts: a cache without fixed views, or of tokens that depend on the mask; shuffled
            targets without a cache, or of fewer than two images.
        DataError: When training starts or goes on: the cache belongs to something else, is stale or damaged.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        teacher: dict | list[dict],
        cache_dir: str | None = None,
        shuffle_targets: bool = False,
        in_memory: bool = False,
    ) -> None:
        self.teacher_cfg = teacher
        self.cache_dir = cache_dir
        self.shuffle_targets = shuffle_targets
        self.in_memory = in_memory
        # Made when training starts; Any, for mmengine builds whatever the config names.
        self.teacher: Any = None
        self.cache: Any = None
        self.views: Any = None
        self.others: Tensor | None = None
        self.kept: list[Tensor] = []
        self.is_kept: Any = None

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and open the cache."""
        if self.shuffle_targets and self.cache_dir is None:
            raise ConfigError(
                'TeacherHook: shuffle_targets=True takes the tokens of other images from a cache, found '
                'cache_dir=None; expected a folder'
            )
        self.teacher = TeacherGroup(self.teacher_cfg).to(next(runner.model.parameters()).device)
        if self.cache_dir is not None:
            self.views = DatasetViews(runner.train_dataloader.dataset)
            self.cache = open_cache(self.cache_dir, self.teacher, self.views)
            check_one_view(self.cache, self.teacher, self.views)
            if self.shuffle_targets:
                self.others = views_of_others(len(self.views), self.views.num_views)

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
            views = _view_ids(samples)
            targets = self._kept(inputs, views) if self.in_memory else self._cached(inputs, views)
        _put(samples, 'teacher_tokens', targets, self.teacher.is_single)
        if any(part is not None for part in defined):
            _put(samples, 'teacher_defined', defined, self.teacher.is_single)

    def _kept(self, inputs: Tensor, views: Tensor) -> list[Tensor]:
        if self.is_kept is None:
            count, device = self.cache.num_views, self.teacher.device
            self.kept = [torch.empty(count, *shape, dtype=torch.half, device=device) for shape in self.cache.shapes]
            self.is_kept = torch.zeros(count, dtype=torch.bool)
        new = ~self.is_kept[views]
        if new.any():
            for kept, targets in zip(self.kept, self._cached(inputs[new], views[new]), strict=True):
                kept[views[new].to(kept.device)] = targets.to(kept)
            self.is_kept[views[new]] = True
        return [kept[views.to(kept.device)].float() for kept in self.kept]

    def _cached(self, inputs: Tensor, views: Tensor) -> list[Tensor]:
        if self.others is not None:
            views = self.others[views]
        missing = self.cache.missing(views)
        if not missing.any():
            return self.cache.read(views)
        inputs = inputs[missing] if self.others is None else self._load(views[missing])
        fresh = [part.cpu() for part in self.teacher(inputs)]
        if get_world_size() == 1:  # on a shared disk, several writers would undo each other's work
            self.cache.write(views[missing], fresh)
            return self.cache.read(views)
        targets = [torch.empty(len(views), *shape) for shape in self.cache.shapes]
        known = self.cache.read(views[~missing])
        for target, old, new in zip(targets, known, fresh, strict=True):
            target[~missing], target[missing] = old, new
        return targets

    def _load(self, views: Tensor) -> Tensor:
        return torch.stack([self.views[view][1] for view in views.tolist()])

    def after_train(self, runner: Runner) -> None:
        """Bring what was added to the disk."""
        if self.cache is not None:
            self.cache.flush()


def teacher_of(runner: Runner) -> Any:
    """Return the :class:`TeacherGroup` of a run that has started, None if nothing teaches it."""
    return next((hook.teacher for hook in runner.hooks if isinstance(hook, TeacherHook)), None)


def views_of_others(count: int, num_views: int) -> Tensor:
    """Assign every view the same view of another image, by a random cycle through all images.

    Args:
        count: Number of views; those of an image follow each other.
        num_views: Views an image.

    Returns:
        ``(count,)`` numbers of views, each once.

    Raises:
        ConfigError: There are fewer than two images.
    """
    images = count // num_views
    if images < 2:
        raise ConfigError(f'TeacherHook: shuffle_targets=True needs 2 or more training images, found {images}')
    # RandomState, for its numbers are the same in all versions of numpy.
    cycle = torch.from_numpy(np.random.RandomState(0).permutation(images))
    others = torch.empty_like(cycle)
    others[cycle] = cycle.roll(1)
    return (others[:, None] * num_views + torch.arange(num_views)).flatten()


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
