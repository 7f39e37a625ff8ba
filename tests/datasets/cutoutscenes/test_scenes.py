import numpy as np
import pytest
from PIL import Image

from hgkd_mm.datasets.cutoutscenes.cutouts import Cutout, make_cutout
from hgkd_mm.datasets.cutoutscenes.dice import Dice
from hgkd_mm.datasets.cutoutscenes.scenes import compose

SIZE = 64


def block(width: int, height: int, colour: tuple[int, int, int], name: str) -> Cutout:
    return make_cutout(Image.new('RGBA', (width, height), (*colour, 255)), name, name, 200)


RED, GREEN, BLUE = (
    block(80, 60, (255, 0, 0), 'red'),
    block(50, 50, (0, 255, 0), 'green'),
    block(90, 20, (0, 0, 255), 'blue'),
)
BLACK = Image.new('RGB', (200, 150))


@pytest.mark.parametrize('seed', range(20))
def test_masks_are_exactly_the_pixels_each_object_shows(seed):
    scene = compose(Dice(seed), BLACK, RED, [GREEN, BLUE, GREEN], SIZE)
    assert scene.image.shape == (SIZE, SIZE, 3) and scene.image.dtype == np.uint8
    assert scene.objects[0].category == 'red'
    strongest = scene.image.astype(int).argmax(axis=2)
    taken = np.zeros((SIZE, SIZE), int)
    for thing in scene.objects:
        taken += thing.mask
        channel = ('red', 'green', 'blue').index(thing.category)
        assert (strongest[thing.mask] == channel).all()
    assert taken.max() == 1
    # What belongs to no mask is background, which has no colour of its own (light may tint it).
    rest = scene.image[taken == 0].astype(int)
    assert (rest.max(axis=1) - rest.min(axis=1)).max(initial=0) < 60


@pytest.mark.parametrize('seed', range(20))
def test_the_main_object_is_the_largest_and_mostly_visible(seed):
    scene = compose(Dice(seed), BLACK, RED, [GREEN, BLUE, GREEN], SIZE)
    alone = compose(Dice(seed), BLACK, RED, [], SIZE)
    areas = [thing.mask.sum() for thing in scene.objects]
    assert areas[0] >= 0.6 * alone.objects[0].mask.sum()
    assert all(area >= SIZE * SIZE // 400 for area in areas)
    assert 0.1 <= alone.objects[0].mask.mean() <= 0.45


def test_a_small_cutout_is_enlarged_by_a_third_at_most():
    tiny = block(10, 10, (255, 0, 0), 'tiny')
    areas = [compose(Dice(i), BLACK, tiny, [], SIZE).objects[0].mask.sum() for i in range(10)]
    assert max(areas) == 13 * 13


def test_scenes_vary():
    scenes = [compose(Dice(i), BLACK, RED, [GREEN], SIZE).image.tobytes() for i in range(5)]
    assert len(set(scenes)) == 5
