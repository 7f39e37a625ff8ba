"""Composing of scenes: objects on a photograph, with exact ground truth.

All pixel work is Pillow's integer arithmetic, so that a scene is the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .cutouts import OPAQUE, Cutout, resize
from .dice import Dice

MAIN_AREA = (0.15, 0.42)  # of the picture, before limits of size and enlargement
MAIN_VISIBLE = 0.6
OTHER_AREA = (0.012, 0.09)
OTHER_VISIBLE = 0.3
OTHER_TO_MAIN = 0.6  # no other object is larger than this part of the main one
COUNTS = (0, 1, 1, 1, 2, 2, 2, 3, 3)  # of other objects, drawn from
ATTEMPTS = 12


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        category: Its category.
        identity: Name of the photographed object.
        mask: bool (S, S), its visible pixels.
    """

    category: str
    identity: str
    mask: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A composed scene.

    Attributes:
        image: uint8 (S, S, 3), RGB.
        objects: What is in it, the main object first. Their masks do not overlap.
    """

    image: np.ndarray
    objects: list[SceneObject]


@dataclass(frozen=True)
class _Placed:
    cutout: Cutout
    image: Image.Image
    corner: tuple[int, int]
    mask: np.ndarray
    total: int  # opaque pixels, those outside the picture included
    needed: int  # pixels that have to stay visible


def compose(
    dice: Dice,
    background: Image.Image,
    main: Cutout,
    others: Sequence[Cutout],
    size: int,
    main_area: tuple[float, float] = MAIN_AREA,
) -> Scene:
    """Paste one main object and smaller ones on a random crop of a photograph.

    An object for which no place is found where everything stays visible enough is left out, so
    every object in the picture is annotated and none is a mere speck.

    Args:
        dice: Random choices.
        background: RGB photograph.
        main: Main object; at least 60 % of it stay visible.
        others: Candidates for the other objects, pasted above or below the main one.
        size: Side S of the scene in pixels.
        main_area: Range of the part of the picture the main object is to cover. It covers less
            where it would not fit or would have to be enlarged by more than 1.3.
    """
    layers = [_place_main(dice, main, size, main_area)]
    limit = layers[0].total * OTHER_TO_MAIN
    for cutout in others:
        for _ in range(ATTEMPTS):
            trial = layers.copy()
            trial.insert(int(dice.uniform(0, len(layers) + 1)), _place(dice, cutout, size, limit))
            visible = _visible(trial)
            if all(v.sum() >= p.needed for v, p in zip(visible, trial, strict=True)):
                layers = trial
                break
    canvas = _crop(dice, background, size)
    for placed in layers:
        canvas.paste(placed.image, placed.corner, placed.image)
    canvas = _light(dice, canvas, 0.22, 0.15, 0.06)
    objects = [
        SceneObject(placed.cutout.category, placed.cutout.identity, mask)
        for placed, mask in zip(layers, _visible(layers), strict=True)
    ]
    first = next(i for i, placed in enumerate(layers) if placed.cutout is main)
    objects.insert(0, objects.pop(first))
    return Scene(np.asarray(canvas), objects)


def _place_main(dice: Dice, cutout: Cutout, size: int, area: tuple[float, float]) -> _Placed:
    wanted = dice.uniform(*area) * size * size
    scale = min((wanted / cutout.area) ** 0.5, 0.96 * size / max(cutout.image.size))
    image = _vary(dice, cutout, scale)
    while True:  # ends soon: a centred object lies wholly inside
        corner = tuple(int(dice.uniform(*sorted((-0.12 * side, size - 0.88 * side)))) for side in image.size)
        placed = _put(cutout, image, corner, size, MAIN_VISIBLE)
        if placed.mask.sum() >= 0.75 * placed.total:
            return placed


def _place(dice: Dice, cutout: Cutout, size: int, limit: float) -> _Placed:
    wanted = min(dice.uniform(*OTHER_AREA) * size * size, limit)
    scale = min((wanted / cutout.area) ** 0.5, 0.55 * size / max(cutout.image.size))
    image = _vary(dice, cutout, scale)
    corner = tuple(int(dice.uniform(-0.25 * side, size - 0.75 * side)) for side in image.size)
    return _put(cutout, image, corner, size, OTHER_VISIBLE)


def _vary(dice: Dice, cutout: Cutout, scale: float) -> Image.Image:
    """Resize, flip and light an object."""
    image = resize(cutout.image, min(scale, cutout.max_scale))
    if dice.chance(0.5):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _light(dice, image, 0.15, 0.1, 0.03)


def _put(cutout: Cutout, image: Image.Image, corner: tuple[int, ...], size: int, share: float) -> _Placed:
    x, y = corner
    opaque = image.getchannel('A').point([0] * OPAQUE + [255] * (256 - OPAQUE))
    canvas = Image.new('L', (size, size))
    canvas.paste(opaque, (x, y))
    total = opaque.histogram()[255]
    needed = max(int(share * total + 0.5), 1, size * size // 400)
    return _Placed(cutout, image, (x, y), np.asarray(canvas) > 0, total, needed)


def _visible(layers: Sequence[_Placed]) -> list[np.ndarray]:
    """Give the visible part of each layer, bottom to top."""
    covered = np.zeros_like(layers[0].mask)
    visible = []
    for placed in reversed(layers):
        visible.append(placed.mask & ~covered)
        covered |= placed.mask
    return visible[::-1]


def _crop(dice: Dice, photograph: Image.Image, size: int) -> Image.Image:
    """Cut a random square from a photograph, at least as large as the scene where possible."""
    short = min(photograph.size)
    side = max(int(short * dice.uniform(0.45, 1.0)), min(size, short))
    x, y = (int(dice.uniform(0, extent - side + 1)) for extent in photograph.size)
    image = photograph.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if dice.chance(0.5) else image


def _light(dice: Dice, image: Image.Image, brightness: float, contrast: float, tint: float) -> Image.Image:
    """Change brightness, contrast and colour of the light by up to the given parts; alpha stays."""
    gain = 1 + dice.uniform(-brightness, brightness)
    slope = 1 + dice.uniform(-contrast, contrast)
    values = (np.arange(256) - 128) * slope + 128
    table: list[int] = []
    for _ in range(3):
        lit = values * (gain * (1 + dice.uniform(-tint, tint))) + 0.5
        table += np.clip(lit, 0, 255).astype(int).tolist()
    if image.mode == 'RGBA':
        table += range(256)
    return image.point(table)
