"""Check of ImageNet-1K's folders, or of one's own in the same layout: ``train/<class>/`` and ``val/<class>/``."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...utils import atomic_write
from .report import Report, check_images, digest_of, existing_root, images_in, listing

IMAGES = {'train': 1_281_167, 'val': 50_000}
CLASSES = 1000


def check_imagenet(root: str | os.PathLike, own: bool = False, workers: int = 8) -> dict[str, Any]:
    """Check folders of labelled images.

    Args:
        root: Folder with ``train`` and ``val``.
        own: One's own data: no official counts and names are expected.
        workers: Threads that look at the files.

    Returns:
        The manifest: ``name``, ``classes``, and per split ``images`` and ``sha256`` (of paths and sizes).

    Raises:
        DataError: Lists everything that is missing or wrong.
    """
    path = existing_root(root)
    report = Report(path)
    classes: dict[str, set[str]] = {}
    splits = {}
    for split, expected in IMAGES.items():
        folder = report.folder(split)
        if folder is None:
            continue
        folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        loose = images_in(folder)
        if loose:
            report.add(
                f'{split} has {len(loose):,} images outside class folders: sort them into {split}/<class>/',
                (image.name for image in loose),
            )
        classes[split] = {entry.name for entry in folders}
        if not own:
            report.count(f'class folders of {split}', len(folders), CLASSES)
            odd = [entry.name for entry in folders if not re.fullmatch(r'n\d{8}', entry.name)]
            if odd:
                report.add(f'folders of {split} whose names are no WordNet ids (n and eight digits)', odd)
        elif not folders and not loose:
            report.add(f'{split} is empty')
        images = {entry.name: images_in(entry) for entry in folders}
        empty = [f'{split}/{name}' for name, found in images.items() if not found]
        if empty:
            report.add('class folders without images', empty)
        files = [image for found in images.values() for image in found]
        report.count(f'images of {split}', len(files), None if own else expected)
        if not own and split == 'val':
            uneven = [f'{name} has {len(found)}' for name, found in images.items() if found and len(found) != 50]
            if uneven:
                report.add('classes of val with other than 50 images', uneven)
        check_images(report, files, workers)
        splits[split] = {'images': len(files), 'sha256': digest_of(listing(path, files))}
    if len(classes) == 2:
        for one, other in (('train', 'val'), ('val', 'train')):
            if alone := sorted(classes[one] - classes[other]):
                report.add(f'class folders of {one} which {other} does not have', alone)
    report.finish()
    name = path.name if own else 'ImageNet-1k'
    return {'name': name, 'classes': sorted(classes['train']), 'splits': splits}


def subset_path(root: str | os.PathLike, percent: float) -> Path:
    """Return where the list of a share of the training images of a data set lies."""
    return Path(root).expanduser() / 'meta' / f'train_{percent:g}percent.txt'


def write_subset(root: str | os.PathLike, percent: float) -> Path:
    """Write ``meta/train_<percent>percent.txt``: a fixed share of every class's training images.

    Each line is ``class/file label``. Which images are taken depends on the class's name alone; a smaller share is
    part of a larger one.

    Args:
        root: Folder with ``train``.
        percent: Above 0, at most 100.

    Returns:
        The file.

    Raises:
        DataError: No such share, or no class folders.
    """
    if not 0 < percent <= 100:
        raise DataError(f'--subset {percent}: expected a percentage above 0 and at most 100')
    train = existing_root(root) / 'train'
    classes = sorted(entry.name for entry in train.iterdir() if entry.is_dir()) if train.is_dir() else []
    if not classes:
        raise DataError(f'{train} has no class folders')
    lines = []
    for label, name in enumerate(classes):
        images = [image.name for image in images_in(train / name)]
        generator = np.random.default_rng(list(os.fsencode(name)))
        chosen = generator.permutation(len(images))[: max(1, round(len(images) * percent / 100))]
        lines += [f'{name}/{images[index]} {label}\n' for index in sorted(chosen)]
    out = subset_path(root, percent)
    with atomic_write(out) as temporary:
        temporary.write_bytes(os.fsencode(''.join(lines)))
    return out
