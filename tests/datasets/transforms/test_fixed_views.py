"""Views that come back, pixel by pixel."""

import random

import numpy as np
import torch

from hgkd_mm.datasets.transforms import FixedViews

TRANSFORMS = [
    dict(type='mmpretrain.RandomResizedCrop', scale=32, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
]


def view(views: FixedViews, index: int) -> dict:
    image = np.random.default_rng(index).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    return views({'img': image, 'sample_idx': index, 'img_shape': (48, 40)})


def test_the_same_view_is_the_same_pixels_whatever_happened_before():
    views, seen = FixedViews(TRANSFORMS, num_views=2), {}
    for draw in range(40):
        np.random.seed(draw)
        results = view(views, draw % 3)
        key = results['view_id']
        assert key // 2 == draw % 3
        assert np.array_equal(seen.setdefault(key, results['img']), results['img'])
    assert sorted(seen) == list(range(6))
    assert not np.array_equal(seen[0], seen[1])


def test_another_seed_gives_other_views():
    one, other = (view(FixedViews(TRANSFORMS, seed=seed), 0)['img'] for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_the_generators_go_on_as_if_nothing_had_happened():
    def draws(with_views: bool) -> tuple[float, float, float]:
        np.random.seed(1)
        random.seed(1)
        torch.manual_seed(1)
        if with_views:
            view(FixedViews(TRANSFORMS), 0)
        else:
            np.random.randint(1)  # the choice of the view is a draw of the run's own
        return np.random.rand(), random.random(), torch.rand(1).item()

    assert draws(with_views=True) == draws(with_views=False)


def test_views_in_memory_are_the_same_and_safe_from_writes():
    fresh, kept = FixedViews(TRANSFORMS, num_views=2), FixedViews(TRANSFORMS, num_views=2, in_memory=True)
    for draw in range(24):
        np.random.seed(draw)
        expected = view(fresh, draw % 3)
        np.random.seed(draw)
        found = view(kept, draw % 3)
        assert np.array_equal(found['img'], expected['img'])
        assert {k: v for k, v in found.items() if k != 'img'}.keys() == {k for k in expected if k != 'img'}
        assert found['view_id'] == expected['view_id']
        found['img'][:] = 0
        found['visible'] = 1
    assert len(kept.kept) == 6
