"""Contact sheet: scenes beside their ground truth, read back from the written files."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

CELL = 192
GAP = 8
PAIRS = 4
COLOURS = (
    (31, 119, 180), (255, 187, 0), (0, 200, 220), (227, 60, 160), (230, 25, 40), (190, 120, 255),
    (170, 100, 40), (150, 240, 40), (90, 90, 255), (20, 150, 70), (255, 120, 20),
)  # fmt: skip


def draw_contact_sheet(root: Path, classes: Sequence[str], rows: int = 6, plain: int = 1) -> None:
    """Draw ``contact_sheet.png``.

    The upper rows show labelled scenes, train and val by turns, each with its copy where masks,
    boxes and class names are drawn; the last ones unlabelled scenes.

    Args:
        root: Folder of the data set.
        classes: Class names in label order.
        rows: Number of rows of labelled scenes.
        plain: Number of rows of unlabelled scenes.
    """
    pairs = []
    for split in ('train', 'val'):
        file = root / f'instances_{split}.json'
        if file.exists():
            pairs.append(_pairs(root / 'images' / split, json.loads(file.read_text(encoding='utf-8')), classes))
    mixed = [pair for together in zip(*pairs, strict=False) for pair in together]
    cells = [cell for pair in mixed[: rows * PAIRS] for cell in pair]
    count = plain * 2 * PAIRS
    cells += [_enlarge(Image.open(f)) for f in sorted((root / 'unlabeled').glob('*.png'))[:count]]
    if not cells:
        return
    columns = 2 * PAIRS
    lines = -(-len(cells) // columns)
    # Scene and ground truth touch; pairs and rows are set apart.
    wide = columns * CELL + (PAIRS + 1) * GAP
    sheet = Image.new('RGB', (wide, lines * (CELL + GAP) + GAP), (250, 250, 250))
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        x = GAP + column * CELL + column // 2 * GAP
        sheet.paste(cell, (x, GAP + row * (CELL + GAP)))
    sheet.save(root / 'contact_sheet.png')


def _pairs(folder: Path, coco: dict, classes: Sequence[str], limit: int = 64) -> list[tuple[Image.Image, Image.Image]]:
    things = defaultdict(list)
    for annotation in coco['annotations']:
        things[annotation['image_id']].append(annotation)
    pairs = []
    for entry in coco['images'][:limit]:
        scene = _enlarge(Image.open(folder / entry['file_name']))
        pairs.append((scene, _overlay(scene, things[entry['id']], entry['width'], classes)))
    return pairs


def _enlarge(image: Image.Image) -> Image.Image:
    return image.convert('RGB').resize((CELL, CELL), Image.Resampling.LANCZOS)


def _overlay(scene: Image.Image, annotations: Sequence[dict], size: int, classes: Sequence[str]) -> Image.Image:
    """Draw masks, boxes and names over an enlarged scene."""
    pixels = np.asarray(scene.convert('L').convert('RGB')).copy()
    for annotation in annotations:
        mask = Image.fromarray(coco_mask.decode(annotation['segmentation']) * np.uint8(255))
        inside = np.asarray(mask.resize(scene.size, Image.Resampling.NEAREST)) > 0
        pixels[inside] = pixels[inside] * 0.45 + np.array(_colour(annotation)) * 0.55
    overlay = Image.fromarray(pixels)
    draw = ImageDraw.Draw(overlay)
    font = ImageFont.load_default(12)
    for annotation in annotations:
        x, y, w, h = (value * CELL / size for value in annotation['bbox'])
        draw.rectangle((x, y, x + w - 1, y + h - 1), outline=_colour(annotation), width=1)
    for annotation in annotations:
        x, y, _, _ = (value * CELL / size for value in annotation['bbox'])
        name = classes[annotation['category_id'] - 1]
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font)
        x, y = max(0, min(x, CELL - right - 3)), max(0, min(y, CELL - bottom - 2))
        draw.rectangle((x, y, x + right + 2, y + bottom + 1), fill=_colour(annotation))
        draw.text((x + 1, y), name, fill=(0, 0, 0), font=font)
    return overlay


def _colour(annotation: dict) -> tuple[int, int, int]:
    return COLOURS[(annotation['category_id'] - 1) % len(COLOURS)]
