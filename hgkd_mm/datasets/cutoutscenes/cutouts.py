"""Cut-outs: photographed objects with an alpha channel, ready for pasting."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

MAX_ENLARGEMENT = 1.3
OPAQUE = 128  # alpha from which a pixel belongs to the object


@dataclass(frozen=True)
class Cutout:
    """An object to paste.

    Attributes:
        image: RGBA picture, trimmed to the object.
        category: A class, or a category of the unlabelled scenes.
        identity: Name of the photographed object; several cut-outs may share it.
        area: Number of opaque pixels of ``image``.
        max_scale: Largest factor by which ``image`` may be resized.
    """

    image: Image.Image
    category: str
    identity: str
    area: int
    max_scale: float


def make_cutout(
    picture: Image.Image,
    category: str,
    identity: str,
    longest: int,
    cut: str = 'alpha',
    white: int = 228,
) -> Cutout:
    """Cut the object out, trim it and shrink it.

    Args:
        picture: Picture as read from its file.
        category: Category of the object.
        identity: Name of the photographed object.
        longest: Longer side in pixels to which a larger cut-out is shrunk.
        cut: ``'alpha'``, ``'white'`` or ``'left_half'``; see `Picture`.
        white: Darkest value of white ground.

    Raises:
        ValueError: Nothing of the picture is opaque.
    """
    image = picture.convert('RGBA')
    if cut == 'white':
        image = cut_from_white(image, white)
    elif cut == 'left_half':
        image = left_sprite(image)
    box = image.getchannel('A').point([0] * 32 + [255] * 224).getbbox()
    if box is None:
        raise ValueError('the picture is fully transparent')
    image = image.crop(box)
    whole = max(image.size)
    if whole > longest:
        image = resize(image, longest / whole)
    area = opaque_area(image)
    if area == 0:
        raise ValueError(f'no pixel has an alpha of {OPAQUE} or more')
    return Cutout(image, category, identity, area, MAX_ENLARGEMENT * whole / max(image.size))


def resize(image: Image.Image, scale: float) -> Image.Image:
    """Resize by a factor. Pillow does this in integers, so every machine gets the same pixels."""
    width, height = (max(1, int(side * scale + 0.5)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def opaque_area(image: Image.Image) -> int:
    """Count the pixels of an RGBA image that belong to the object."""
    return sum(image.getchannel('A').histogram()[OPAQUE:])


def cut_from_white(image: Image.Image, white: int, hole: int = 60) -> Image.Image:
    """Make the white ground of a product photograph transparent.

    Ground is what is nearly white and connected to the border; holes (the eyes of a pair of
    scissors) are other nearly white regions that are large and purely white. One more pixel goes
    off the outline, where object and ground are mixed.

    Args:
        image: RGBA picture.
        white: Darkest value of any channel that may be ground.
        hole: Smallest region in pixels that is a hole.
    """
    pixels = np.array(image)
    light = (pixels[..., :3].min(axis=2) >= white).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(light, connectivity=4)
    height, width = light.shape
    ground = np.zeros(count, bool)
    for region in range(1, count):
        left, top, w, h, area = stats[region]
        touches = left == 0 or top == 0 or left + w == width or top + h == height
        pure = pixels[regions == region][:, :3].min(axis=1)
        ground[region] = touches or (area >= hole and np.median(pure) >= 250)
    thick = cv2.dilate(ground[regions].astype(np.uint8), np.ones((3, 3), np.uint8))
    alpha = largest_regions(1 - thick, 0.5) * 255
    return Image.fromarray(np.dstack([pixels[..., :3], alpha.astype(np.uint8)]), 'RGBA')


def left_sprite(image: Image.Image) -> Image.Image:
    """Give the first of two frames that lie side by side, without specks of the other one."""
    half = image.crop((0, 0, image.width // 2, image.height))
    pixels = np.array(half)
    pixels[..., 3] *= largest_regions((pixels[..., 3] >= OPAQUE).astype(np.uint8))
    return Image.fromarray(pixels, 'RGBA')


def largest_regions(mask: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Keep the connected regions of a 0/1 mask that have a share of the largest one's area."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return (areas >= max(1, share * areas.max()))[regions].astype(np.uint8)
