"""Runs the frozen teacher beside the training, outside the model."""

from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.transforms import FixedViews
from ..errors import ConfigError
from ..models.token_cache import TokenCache
from ..registry import HOOKS, MODELS
from ..utils import sha256_json

#: Cached rows recomputed when a batch first meets them after the start.
CHECKED_ROWS = 4


@HOOKS.register_module()
class TeacherHook(Hook):
    """Put the teacher's tokens of every training image into its data sample, as ``teacher_tokens`` ``(C, h, w)``.

    So checkpoints stay student-sized, DDP never sees frozen parameters, and cached tokens are the same data from
    another source.

    Args:
        teacher: Config of the teacher, e.g. ``dict(type='hgkd_mm.ViTTeacher', ...)``.
        cache_dir: Folder for cached tokens; None runs the teacher live. Needs ``hgkd_mm.FixedViews`` in the
            training pipeline and ``view_id`` among PackInputs' ``meta_keys``.

    Raises:
        ConfigError: When training starts: a cache without fixed views.
        DataError: When training starts or goes on: the cache belongs to something else, or is stale.
    """

    priority = 'NORMAL'

    def __init__(self, teacher: dict, cache_dir: str | None = None) -> None:
        self.teacher_cfg = teacher
        self.cache_dir = cache_dir
        # Both are made when training starts; Any, for mmengine builds whatever the config names.
        self.teacher: Any = None
        self.cache: Any = None
        self.checked = False

    def before_train(self, runner: Runner) -> None:
        """Build the teacher and open the cache."""
        self.open(runner.train_dataloader.dataset, next(runner.model.parameters()).device)

    def open(self, dataset: BaseDataset, device: torch.device | str) -> None:
        """Build the teacher on ``device``, and open the cache of its tokens for the images of ``dataset``."""
        self.device = device
        self.teacher = MODELS.build(self.teacher_cfg).to(self.device)
        if self.cache_dir is not None:
            views = fixed_views(dataset)
            files = [info['img_path'] for info in _infos(dataset)]
            source = {
                'teacher': self.teacher.fingerprint,
                'images': sha256_json(files),
                'views': sha256_json([views.transforms, views.num_views, views.seed]),
            }
            shape = (self.teacher.embed_dims, *self.teacher.grid_size)
            self.cache = TokenCache(self.cache_dir, len(files) * views.num_views, shape, source)
            self.checked = not self.cache.filled.any()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Add ``teacher_tokens`` to each data sample of the batch."""
        inputs, samples = data_batch['inputs'], data_batch['data_samples']
        inputs = torch.stack(list(inputs)) if isinstance(inputs, list | tuple) else inputs
        tokens = self.teacher(inputs.to(self.device)) if self.cache is None else self.cached(inputs, _view_ids(samples))
        for sample, token in zip(samples, tokens, strict=True):
            sample.set_field(token, 'teacher_tokens', dtype=torch.Tensor)

    def cached(self, inputs: Tensor, views: Tensor) -> Tensor:
        """Return the tokens of ``views`` ``(B,)`` of ``inputs`` ``(B, 3, H, W)``; the teacher says those not cached."""
        missing = self.cache.missing(views)
        known = (~missing).nonzero().flatten()[:CHECKED_ROWS]
        if not self.checked and len(known):
            # Before anything is added: what is there must be what this teacher says.
            self.cache.check(views[known], self.teacher(inputs[known].to(self.device)))
            self.checked = True
        if missing.any():
            self.cache.write(views[missing], self.teacher(inputs[missing].to(self.device)))
        return self.cache.read(views)


def _infos(dataset: BaseDataset) -> list[dict]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def fixed_views(dataset: BaseDataset) -> FixedViews:
    """Return the one :class:`FixedViews` of a data set's pipeline; none is a :class:`ConfigError`."""
    found = [t for t in dataset.pipeline.transforms if isinstance(t, FixedViews)]
    if len(found) != 1:
        raise ConfigError(
            f'TeacherHook: cache_dir needs one hgkd_mm.FixedViews in the training pipeline, found {len(found)}: random '
            'views cannot be cached. Wrap the random transforms in it, or set cache_dir=None'
        )
    return found[0]


def _view_ids(samples: list) -> Tensor:
    views = [sample.get('view_id') for sample in samples]
    if any(view is None for view in views):
        raise ConfigError("TeacherHook: data samples have no view_id: add it to PackInputs' meta_keys")
    return torch.tensor(views)
