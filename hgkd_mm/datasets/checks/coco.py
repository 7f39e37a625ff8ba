"""Check of COCO 2017, or of one's own data in its format: images in folders, instances in JSON files."""

import os
from pathlib import Path
from typing import Any

from PIL import Image

from ...utils import sha256_file
from .coco_annotations import check_annotations, read_annotations
from .report import Report, check_images, existing_root

IMAGES = {'train2017': 118_287, 'val2017': 5_000}
CATEGORIES = 80


def check_coco(root: str | os.PathLike, own: bool = False, workers: int = 8) -> dict[str, Any]:
    """Check images against annotations.

    Args:
        root: Folder with ``train2017``, ``val2017`` and ``annotations/instances_{train,val}2017.json``.
        own: One's own data: no official counts are expected.
        workers: Threads that look at the files.

    Returns:
        The manifest: ``name``, ``classes``, and per split ``images``, ``objects`` and ``sha256`` (of the annotations).

    Raises:
        DataError: Lists everything that is missing or wrong.
    """
    path = existing_root(root)
    report = Report(path)
    report.folder('annotations')
    splits, names = {}, {}
    for split, expected in IMAGES.items():
        folder = report.folder(split)
        annotations = path / 'annotations' / f'instances_{split}.json'
        content = read_annotations(report, annotations)
        if content is None or folder is None:
            continue
        if not own:
            report.count(f'images of {annotations.name}', len(content['images']), expected)
            report.count(f'categories of {annotations.name}', len(content['categories']), CATEGORIES)
        check_annotations(report, annotations.name, content)
        _check_files(report, folder, content['images'], workers)
        names[split] = [category['name'] for category in sorted(content['categories'], key=lambda c: c['id'])]
        splits[split.removesuffix('2017')] = {
            'images': len(content['images']),
            'objects': len(content['annotations']),
            'sha256': sha256_file(annotations),
        }
    if len(names) == 2 and names['train2017'] != names['val2017']:
        odd = sorted(set(names['train2017']) ^ set(names['val2017']))
        report.add('the categories of the two splits differ', odd or ['their order'])
    report.finish()
    return {'name': path.name if own else 'COCO', 'classes': names['train2017'], 'splits': splits}


def _check_files(report: Report, folder: Path, images: list[dict], workers: int) -> None:
    missing = [image['file_name'] for image in images if not (folder / image['file_name']).is_file()]
    if missing:
        report.add(f'images which {folder.name} does not have', missing)
    there = [image for image in images if (folder / image['file_name']).is_file()]
    before = len(report.problems)
    check_images(report, [folder / image['file_name'] for image in there], workers)
    if len(report.problems) > before:
        return
    wrong = []
    for image in there:
        with Image.open(folder / image['file_name']) as opened:
            if opened.size != (image['width'], image['height']):
                wrong.append(f'{image["file_name"]} is {opened.width}x{opened.height}')
    if wrong:
        report.add(f'images of {folder.name} with another size than the annotations say', wrong)
