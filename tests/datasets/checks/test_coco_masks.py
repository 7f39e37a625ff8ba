"""Masks are held against their image by what pycocotools itself writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from hgkd_mm.datasets.checks.coco_masks import decode_lengths, fault_of_mask, sticks_out


def lengths_of(mask: np.ndarray) -> list[int]:
    """Count runs of equal pixels down the columns, beginning with zeros."""
    pixels = mask.T.reshape(-1)
    ends = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([0, *ends, len(pixels)]).tolist()
    return [0, *runs] if pixels[0] else runs


masks = st.tuples(st.integers(1, 70), st.integers(1, 70)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.sampled_from([0, 1]))
)


@given(masks)
def test_compressed_lengths_are_those_of_the_mask(mask):
    rle = coco_mask.encode(np.asfortranarray(mask))
    height, width = mask.shape
    text = rle['counts'].decode()
    assert decode_lengths(text) == lengths_of(mask)
    assert fault_of_mask({'size': rle['size'], 'counts': text}, width, height) is None
    assert fault_of_mask({'size': rle['size'], 'counts': lengths_of(mask)}, width, height) is None


@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=30))
def test_made_up_lengths_never_fail_otherwise(text):
    lengths = decode_lengths(text)
    assert lengths is None or all(type(n) is int for n in lengths)


@pytest.mark.parametrize(
    ('segmentation', 'fault'),
    [
        (None, None),
        ([], None),
        ([[0, 0, 24, 0, 24, 16]], None),
        ({'size': [16, 24], 'counts': [0, 384]}, None),
        ({'size': [24, 16], 'counts': [0, 384]}, 'is 16x24, its image 24x16'),
        ({'size': 'x', 'counts': [0, 384]}, 'is x, its image 24x16'),
        ({'counts': [384]}, 'is None, its image 24x16'),
        ({'size': [16, 24], 'counts': [0, 380]}, 'covers 380 pixels, its image has 384'),
        ({'size': [16, 24], 'counts': [-1, 385]}, 'has counts that are no run lengths'),
        ({'size': [16, 24], 'counts': 'P'}, 'has counts that are no run lengths'),  # breaks off within a number
        ({'size': [16, 24], 'counts': None}, 'has counts that are no run lengths'),
        ([[1, 2, 3, 4]], 'has a polygon of 4 numbers, expected x and y of 3 points or more'),
        ([[1, 2, 3, 4, 5, 6, 7]], 'has a polygon of 7 numbers, expected x and y of 3 points or more'),
        ([[1, 2, 3, 4, 5, None]], 'has a polygon that is no list of numbers'),
        ([[1, 2, 3, 4, 5, float('nan')]], 'has a polygon that is no list of numbers'),
        ([1, 2, 3, 4, 5, 6], 'has a polygon that is no list of numbers'),
        ('mask', 'is a str, expected polygons or run lengths'),
    ],
)
def test_each_fault_of_a_mask_is_told(segmentation, fault):
    assert fault_of_mask(segmentation, 24, 16) == fault


@pytest.mark.parametrize(
    ('points', 'out'),
    [
        ([0, 0, 24, 0, 24, 16], False),
        ([-1, -1, 25, 0, 24, 17], False),
        ([-1.5, 0, 24, 0, 24, 16], True),
        ([0, 0, 25.5, 0, 24, 16], True),
        ([0, 0, 24, 0, 24, 17.5], True),
    ],
)
def test_polygons_may_leave_the_image_by_rounding_only(points, out):
    assert sticks_out([points], 24, 16) is out
    assert sticks_out([[0, 0, 1, 0, 1, 1], points], 24, 16) is out
