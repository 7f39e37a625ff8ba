import numpy as np
import pytest
from PIL import Image

from hgkd_mm.datasets.cutoutscenes.cutouts import (
    cut_from_white,
    largest_regions,
    left_sprite,
    make_cutout,
)


def rgba(side: int, boxes: dict[tuple[int, int, int, int], tuple[int, ...]]) -> Image.Image:
    """Paint boxes (left, top, right, bottom) on a transparent square."""
    image = Image.new('RGBA', (side, side))
    for box, colour in boxes.items():
        image.paste(colour, box)
    return image


def test_a_cutout_is_trimmed_and_shrunk_and_knows_how_far_it_may_grow():
    picture = rgba(100, {(10, 20, 90, 60): (9, 9, 9, 255), (0, 0, 5, 5): (9, 9, 9, 20)})
    cutout = make_cutout(picture, 'fish', 'cod', longest=40)
    assert cutout.image.size == (40, 20)
    assert cutout.area == 800
    assert cutout.max_scale == pytest.approx(1.3 * 2)
    small = make_cutout(picture, 'fish', 'cod', longest=200)
    assert (small.image.size, small.max_scale) == ((80, 40), 1.3)


def test_an_empty_picture_is_refused():
    with pytest.raises(ValueError, match='transparent'):
        make_cutout(Image.new('RGBA', (9, 9)), 'fish', 'cod', 40)


def test_white_ground_and_large_holes_go_but_white_parts_stay():
    picture = Image.new('RGBA', (60, 60), (252, 252, 252, 255))
    picture.paste((30, 30, 30, 255), (10, 10, 50, 50))
    picture.paste((255, 255, 255, 255), (15, 15, 27, 27))  # a hole: large and pure
    picture.paste((240, 240, 240, 255), (33, 15, 45, 27))  # large, but a light part
    picture.paste((255, 255, 255, 255), (20, 40, 24, 44))  # pure, but small: a highlight
    alpha = np.asarray(cut_from_white(picture, 228).getchannel('A'))
    assert set(np.unique(alpha)) == {0, 255}
    assert alpha[5, 5] == 0 and alpha[20, 20] == 0
    assert alpha[20, 39] == 255 and alpha[42, 22] == 255
    # One pixel of the outline goes.
    assert alpha[10, 30] == 0 and alpha[11, 30] == 255


def test_the_left_frame_of_a_sprite_has_no_specks_of_the_right_one():
    sheet = rgba(80, {(2, 5, 30, 30): (1, 2, 3, 255), (38, 10, 70, 30): (1, 2, 3, 255)})
    frame = left_sprite(sheet)
    assert frame.getchannel('A').getbbox() == (2, 5, 30, 30)


def test_regions_below_the_share_are_dropped():
    mask = np.zeros((20, 20), np.uint8)
    mask[0:10, 0:10], mask[12:17, 12:17], mask[19, 0] = 1, 1, 1
    assert largest_regions(mask, 0.1).sum() == 125
    assert largest_regions(mask, 0.5).sum() == 100
    assert largest_regions(np.zeros((4, 4), np.uint8)).sum() == 0
