"""All fixed views of a data set in a row."""

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

import hgkd_mm.models  # noqa: F401  registers
from hgkd_mm.datasets.views import DatasetViews
from hgkd_mm.errors import ConfigError

CROP = [dict(type='mmpretrain.RandomResizedCrop', scale=32), dict(type='RandomFlip', prob=0.5)]
VIEWS = dict(type='FixedViews', transforms=CROP, num_views=3)
PACK = dict(type='mmpretrain.PackInputs', algorithm_keys=['visible'], meta_keys=['sample_idx', 'img_path', 'view_id'])
MASK = dict(type='RandomPatchMask', patch_size=16)


def dataset(root, *transforms):
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 48, 3), dtype=np.uint8)
        (root / 'images').mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / 'images' / f'{number}.png')
    init_default_scope('hgkd_mm')
    pipeline = [dict(type='LoadImageFromFile'), *transforms, PACK]
    config = dict(type='mmpretrain.CustomDataset', data_root=str(root), data_prefix='images', with_label=False)
    return DATASETS.build(dict(**config, pipeline=pipeline))


def test_views_are_those_that_training_shows(tmp_path):
    data = dataset(tmp_path, VIEWS, MASK)
    views = DatasetViews(data)
    assert len(views) == 6
    for _ in range(12):
        sample = data[1]
        row, image = views[sample['data_samples'].view_id]
        assert row == sample['data_samples'].view_id and row >= 3
        assert torch.equal(image, sample['inputs'])
    assert len({views[row][1].numpy().tobytes() for row in range(6)}) == 6


def test_reading_a_view_leaves_the_run_s_random_numbers_alone(tmp_path):
    views = DatasetViews(dataset(tmp_path, VIEWS, MASK))
    draws = []
    for count in (0, 3):
        np.random.seed(0)
        for row in range(count):
            views[row]
        draws.append(np.random.rand())
    assert draws[0] == draws[1]


def test_random_pixels_outside_of_the_fixed_views_are_found(tmp_path):
    DatasetViews(dataset(tmp_path, VIEWS, MASK)).check_repeatable()
    views = DatasetViews(dataset(tmp_path, VIEWS, dict(type='RandomFlip', prob=0.5), MASK))
    with pytest.raises(ConfigError, match='other pixels every time.*one of LoadImageFromFile, RandomFlip'):
        views.check_repeatable()


def test_a_pipeline_without_or_with_two_fixed_views_is_refused(tmp_path):
    for transforms, count in (((MASK,), 0), ((VIEWS, VIEWS), 2)):
        with pytest.raises(ConfigError, match=f'one hgkd_mm.FixedViews in the training pipeline, found {count}'):
            DatasetViews(dataset(tmp_path, *transforms) if count else dataset(tmp_path, *CROP, MASK))


def test_facts_follow_what_changes_the_pixels_but_not_where_the_data_set_lies(tmp_path):
    first = DatasetViews(dataset(tmp_path, VIEWS, MASK)).facts()
    assert first['dataset']['images'] == 2
    other_mask = dict(MASK, mask_ratio=0.1)
    (tmp_path / 'moved').mkdir()
    assert DatasetViews(dataset(tmp_path / 'moved', VIEWS, other_mask)).facts() == first
    (tmp_path / 'moved/images/2.png').write_bytes((tmp_path / 'images/1.png').read_bytes())
    assert DatasetViews(dataset(tmp_path / 'moved', VIEWS, MASK)).facts()['dataset'] != first['dataset']
    resized = dict(type='Resize', scale=(40, 40))
    assert DatasetViews(dataset(tmp_path, resized, VIEWS, MASK)).facts()['views'] != first['views']
    assert DatasetViews(dataset(tmp_path, dict(VIEWS, seed=1), MASK)).facts()['views'] != first['views']
