"""Every fault of images with label maps is named; nothing is changed."""

import numpy as np
import pytest
from PIL import Image

from hgkd_mm.datasets.checks import check_ade20k
from hgkd_mm.errors import DataError


def test_sound_data_give_counts(ade):
    manifest = check_ade20k(ade, own=3)
    assert {name: split['images'] for name, split in manifest['splits'].items()} == {'train': 2, 'val': 2}


def test_official_counts_are_expected_of_ade20k(ade):
    with pytest.raises(DataError, match=r'images of training: 2 found, 20,210 expected'):
        check_ade20k(ade)


def save(path, array):
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda p: p.unlink(), 'images of training without a label map: 1'),
        (lambda p: save(p.with_name('9.png'), np.zeros((4, 4))), 'label maps of training without an image: 9'),
        (lambda p: save(p, np.full((16, 24), 3)), r'annotations/training/1.png has label 3, expected 0 to 2'),
        (lambda p: save(p, np.zeros((8, 24))), 'training/1.png is 24x8, its image 24x16'),
        (lambda p: save(p, np.zeros((16, 24, 3))), 'training/1.png has mode RGB, expected one number a pixel'),
        (lambda p: p.write_bytes(p.read_bytes()[:-20]), r'unreadable images: annotations/training/1.png \(cut off\)'),
        (lambda p: p.rename(p.with_suffix('.jpg')), 'label maps of training that are no PNG files'),
        (lambda p: p.parent.rename(p.parents[1] / 'train'), r'annotations/training is missing; beside it are train'),
    ],
)
def test_each_fault_is_named_and_nothing_is_changed(ade, content_of, damage, message):
    damage(ade / 'annotations' / 'training' / '1.png')
    before = content_of(ade)
    with pytest.raises(DataError, match=message):
        check_ade20k(ade, own=3)
    assert content_of(ade) == before
