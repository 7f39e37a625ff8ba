"""A small source folder: coloured shapes as cut-outs, gradients as photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def draw_shape(side: int, kind: int, shade: int) -> Image.Image:
    """Draw a disc, a square or a diamond with stripes, transparent around it."""
    y, x = np.mgrid[:side, :side]
    u, v = 2 * x - side + 1, 2 * y - side + 1
    distance = (u * u + v * v, np.maximum(abs(u), abs(v)) ** 2, (abs(u) + abs(v)) ** 2)[kind]
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., kind] = 120 + shade
    pixels[..., (kind + 1) % 3] = np.where((x // 4) % 2, 200, 40)
    pixels[..., 3] = np.where(distance <= (side - 4) ** 2, 255, 0)
    return Image.fromarray(pixels)


@pytest.fixture(scope='session')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with three classes of six objects, one with two views, and six photos."""
    root = tmp_path_factory.mktemp('source')
    for kind, name in enumerate(('disc', 'square', 'diamond')):
        folder = root / 'cutouts' / name
        folder.mkdir(parents=True)
        for number in range(6):
            draw_shape(40 + 12 * number, kind, 20 * number).save(folder / f'{name}{number}.png')
        draw_shape(60, kind, 7).save(folder / f'{name}5__back.png')
    (root / 'backgrounds').mkdir()
    y, x = np.mgrid[:180, :240]
    for number in range(6):
        rows = ((x * (number + 1) + y) % 256, (y * 2) % 256, (x + y * number) % 256)
        photo = Image.fromarray(np.stack(rows, -1).astype(np.uint8))
        photo.save(root / 'backgrounds' / f'photo{number}.png')
    return root
