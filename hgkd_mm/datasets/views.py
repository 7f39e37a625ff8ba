"""All fixed views of a data set, one after the other: what a teacher cache has a row for."""

import os

import torch
from mmengine.dataset import BaseDataset

from ..errors import ConfigError
from ..seeding import seeded
from ..utils import sha256_json
from .transforms import FixedViews

#: Transforms that leave the pixels alone, or come after them.
_NO_PIXELS = ('RandomPatchMask', 'PackInputs')
_TRIES = 6


class DatasetViews:
    """A data set whose pipeline holds one ``FixedViews``, as a sequence of its views.

    Args:
        dataset: An mmengine data set. Its pipeline ends with PackInputs, which keeps ``view_id``.

    Raises:
        ConfigError: There is no, or more than one, ``FixedViews``.
    """

    def __init__(self, dataset: BaseDataset) -> None:
        pipeline = getattr(dataset, 'pipeline', None)
        transforms = list(getattr(pipeline, 'transforms', []))
        found = [t for t in transforms if isinstance(t, FixedViews)]
        if len(found) != 1:
            raise ConfigError(
                f'a teacher cache needs one hgkd_mm.FixedViews in the training pipeline, found {len(found)}: random '
                'views cannot be cached. Wrap the random transforms in it, or set cache_dir=None'
            )
        self.dataset = dataset
        self.fixed = found[0]
        self.transforms = transforms
        self.num_views = found[0].num_views

    def __len__(self) -> int:
        return len(self.dataset) * self.num_views

    def __getitem__(self, row: int) -> tuple[int, torch.Tensor]:
        """Return ``(row, image)``, the image ``(3, H, W)`` as the pipeline packs it."""
        with seeded(self.fixed.seed, row):
            return row, self._load(row)

    def _load(self, row: int) -> torch.Tensor:
        index, view = divmod(row, self.num_views)
        info = self.dataset.get_data_info(index)
        info['view'] = view
        return self.dataset.pipeline(info)['inputs']

    def check_repeatable(self, row: int = 0) -> None:
        """See that a view has the same pixels every time.

        Raises:
            ConfigError: It has not: something random is outside of ``FixedViews``.
        """
        images = []
        for attempt in range(_TRIES):
            with seeded(self.fixed.seed, row, attempt):
                images.append(self._load(row))
        if any(image.shape != images[0].shape or not torch.equal(image, images[0]) for image in images[1:]):
            names = ', '.join(type(t).__name__ for t in self.transforms if t is not self.fixed)
            raise ConfigError(
                f'view {row} has other pixels every time, so its tokens cannot be cached: one of {names} is random. '
                'Move it into FixedViews'
            )

    def facts(self) -> dict:
        """Return what fixes the pixels of all views: images by name, transforms, seed."""
        paths = [self.dataset.get_data_info(i)['img_path'] for i in range(len(self.dataset))]
        root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ''
        names = [os.path.relpath(path, root) for path in paths]
        others = [repr(t) for t in self.transforms if t is not self.fixed and type(t).__name__ not in _NO_PIXELS]
        return {
            'dataset': {'type': type(self.dataset).__name__, 'images': len(names), 'names': sha256_json(names)},
            'views': {
                'transforms': self.fixed.transforms,
                'num_views': self.num_views,
                'seed': self.fixed.seed,
                'other_transforms': others,
            },
        }
