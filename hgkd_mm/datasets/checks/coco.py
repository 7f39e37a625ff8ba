"""Check of COCO 2017, or of one's own data in its format: images in folders, instances in JSON files."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from ...utils import sha256_file
from .report import Report, check_images, existing_root

IMAGES = {'train2017': 118_287, 'val2017': 5_000}
CATEGORIES = 80
#: What the entries of an annotation file must have, and of what kind.
_FIELDS = {
    'images': {'id': 'an id', 'file_name': 'a text', 'width': 'a number', 'height': 'a number'},
    'categories': {'id': 'an id', 'name': 'a text'},
    'annotations': {'image_id': 'an id', 'category_id': 'an id', 'bbox': 'a box of four numbers'},
}


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
        content = _read(report, annotations)
        if content is None or folder is None:
            continue
        if not own:
            report.count(f'images of {annotations.name}', len(content['images']), expected)
            report.count(f'categories of {annotations.name}', len(content['categories']), CATEGORIES)
        _check_references(report, annotations.name, content)
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


def _read(report: Report, path: Path) -> dict | None:
    name = path.relative_to(report.root)
    if not path.is_file():
        if path.parent.is_dir():
            report.add(f'file {name} is missing', (p.name for p in sorted(path.parent.glob('*.json'))))
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        for key, fields in _FIELDS.items():
            for entry in content[key]:
                for field, kind in fields.items():
                    if field not in entry:
                        report.add(f'{name}: an entry of {key} has no {field}', [json.dumps(entry)[:80]])
                        return None
                    if not _is(entry[field], kind):
                        report.add(
                            f'{name}: an entry of {key} has {field}={json.dumps(entry[field])[:40]}, expected {kind}',
                            [json.dumps(entry)[:80]],
                        )
                        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        report.add(f'{name} is no COCO annotation file ({type(error).__name__}: {error})')
        return None
    return content


def _is(value: Any, kind: str) -> bool:
    if kind == 'a box of four numbers':
        return isinstance(value, list) and len(value) == 4 and all(_is(number, 'a number') for number in value)
    types = {'an id': int, 'a text': str, 'a number': (int, float)}[kind]
    return isinstance(value, types) and not isinstance(value, bool)  # type: ignore[arg-type]


def _check_references(report: Report, name: str, content: dict) -> None:
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    categories = {category['id'] for category in content['categories']}
    for what, ids in (
        ('image', [i['id'] for i in content['images']]),
        ('category', [c['id'] for c in content['categories']]),
    ):
        if twice := [str(i) for i, count in Counter(ids).items() if count > 1]:
            report.add(f'{name}: {what} ids that occur twice', twice)
    unknown, foreign, outside = [], [], []
    for index, annotation in enumerate(content['annotations']):
        label = str(annotation.get('id', f'number {index}'))
        size = sizes.get(annotation['image_id'])
        if size is None:
            unknown.append(label)
            continue
        if annotation['category_id'] not in categories:
            foreign.append(label)
        x, y, width, height = annotation['bbox']
        # COCO itself has boxes that stick out by rounding
        if width <= 0 or height <= 0 or x < -1 or y < -1 or x + width > size[0] + 1 or y + height > size[1] + 1:
            outside.append(label)
    for problem, found in (
        ('annotations of images which are not listed', unknown),
        ('annotations of categories which are not listed', foreign),
    ):
        if found:
            report.add(f'{name}: {problem}', found)
    # a handful of empty boxes is in COCO itself, and is filtered in training
    if len(outside) > max(3, len(content['annotations']) // 1000):
        report.add(f'{name}: boxes that are empty or outside their image', outside)


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
