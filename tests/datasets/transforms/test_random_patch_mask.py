"""Patch masks drawn in the pipeline."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.datasets.transforms import RandomPatchMask, random_patch_mask
from hgkd_mm.errors import ConfigError


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.999))
def test_number_of_visible_patches_is_the_rounded_share_and_at_least_one(rows, columns, ratio):
    mask = random_patch_mask(rows, columns, ratio)
    assert mask.shape == (rows, columns) and mask.dtype == bool
    assert mask.sum() == max(1, round(rows * columns * (1 - ratio)))


def test_every_patch_is_visible_equally_often():
    np.random.seed(0)
    frequency = np.mean([random_patch_mask(3, 4, 0.5) for _ in range(4000)], axis=0)
    assert abs(frequency - 0.5).max() < 0.04


def test_it_follows_the_image_s_shape():
    results = RandomPatchMask(32, 0.5)({'img': np.zeros((96, 64, 3), np.uint8)})
    assert results['visible'].shape == (3, 2) and int(results['visible'].sum()) == 3


def test_an_image_that_is_no_multiple_of_the_patch_is_named():
    with pytest.raises(ConfigError, match=r'cat\.png is 100x64 px here, no multiple of patch_size=32'):
        RandomPatchMask(32)({'img': np.zeros((100, 64, 3), np.uint8), 'img_path': 'cat.png'})


@pytest.mark.parametrize('ratio', [-0.1, 1.0])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ConfigError, match=f'mask_ratio={ratio}'):
        RandomPatchMask(32, ratio)
