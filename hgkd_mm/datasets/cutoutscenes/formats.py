"""Writing of scenes in the three standard layouts: class folders, COCO JSON, label maps."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from hgkd_mm.utils import atomic_write

from .scenes import Scene


def make_folders(root: Path, split: str, classes: Sequence[str]) -> None:
    """Make the folders a labelled split needs."""
    for folder in ('images', 'annotations'):
        (root / folder / split).mkdir(parents=True)
    for name in classes:
        (root / 'classification' / split / name).mkdir(parents=True)


def write_scene(root: Path, split: str, index: int, scene: Scene, classes: Sequence[str]) -> tuple[list[dict], str]:
    """Write a labelled scene's files.

    Args:
        root: Folder of the data set.
        split: ``'train'`` or ``'val'``.
        index: Number of the scene.
        scene: The scene; its main object's category is the class of the picture.
        classes: Class names in the order of their label values, the first being 1.

    Returns:
        Its COCO annotations without ids, and the SHA-256 of the pixels and annotations.
    """
    name = f'{index:06d}.png'
    labels = np.zeros(scene.image.shape[:2], np.uint8)
    annotations = []
    for thing in scene.objects:
        label = classes.index(thing.category) + 1
        labels[thing.mask] = label
        annotations.append(_annotation(label, thing.identity, thing.mask))
    image = root / 'images' / split / name
    Image.fromarray(scene.image).save(image)
    Image.fromarray(labels).save(root / 'annotations' / split / name)
    link = root / 'classification' / split / scene.objects[0].category / name
    try:
        os.link(image, link)
    except OSError:  # a file system without hard links
        shutil.copyfile(image, link)
    digest = hashlib.sha256(scene.image.tobytes() + labels.tobytes())
    digest.update(json.dumps(annotations, sort_keys=True).encode())
    return annotations, digest.hexdigest()


def write_unlabeled(root: Path, index: int, scene: Scene) -> str:
    """Write an unlabelled scene, and return the SHA-256 of its pixels."""
    Image.fromarray(scene.image).save(root / 'unlabeled' / f'{index:06d}.png')
    return hashlib.sha256(scene.image.tobytes()).hexdigest()


def _annotation(label: int, identity: str, mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(xs[0]), int(ys[0])
    return dict(
        category_id=label,
        bbox=[x, y, int(xs[-1]) - x + 1, int(ys[-1]) - y + 1],
        area=int(mask.sum()),
        iscrowd=0,
        identity=identity,
        segmentation=dict(size=list(mask.shape), counts=rle['counts'].decode('ascii')),
    )


def write_coco(
    path: Path,
    scenes: Sequence[tuple[str, Sequence[dict]]],
    classes: Sequence[str],
    size: int,
) -> None:
    """Write a COCO JSON file.

    Args:
        path: File to write.
        scenes: For each scene in order the name of its background and its annotations without ids,
            the main object first.
        classes: Class names; the category ids are 1, 2, ...
        size: Side of the scenes in pixels.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for index, (background, things) in enumerate(scenes):
        name = f'{index:06d}.png'
        images.append(dict(id=index, file_name=name, width=size, height=size, background=background))
        for thing in things:
            annotations.append(dict(id=len(annotations) + 1, image_id=index, **thing))
    categories = [dict(id=label, name=name) for label, name in enumerate(classes, 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding='utf-8')
