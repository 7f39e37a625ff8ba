"""What can be wrong with an annotation file in COCO's format, without its images."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from ...utils import sha256_file
from .coco_masks import fault_of_mask, sticks_out
from .report import Report

#: What the entries of an annotation file must have, and of what kind.
_FIELDS = {
    'images': {'id': 'an id', 'file_name': 'a text', 'width': 'a number', 'height': 'a number'},
    'categories': {'id': 'an id', 'name': 'a text'},
    'annotations': {'id': 'an id', 'image_id': 'an id', 'category_id': 'an id', 'bbox': 'a box of four numbers'},
}


def check_annotation_file(path: str | os.PathLike) -> None:
    """Check a file that is about to be trained or evaluated on.

    A file whose hash is in the ``manifest.json`` of its data set was checked by ``tools/prepare_data.py`` already.

    Args:
        path: The file; it exists.

    Raises:
        DataError: Lists everything that is wrong.
    """
    path = Path(path)
    if not _is_in_manifest(path):
        report = Report(path.parent)
        content = read_annotations(report, path)
        if content is not None:
            check_annotations(report, path.name, content)
        report.finish()


def _is_in_manifest(path: Path) -> bool:
    for folder in list(path.absolute().parents)[:2]:
        try:
            text = (folder / 'manifest.json').read_text(encoding='utf-8')
        except (OSError, ValueError):
            continue
        return f'"{sha256_file(path)}"' in text
    return False


def read_annotations(report: Report, path: Path) -> dict | None:
    """Read a file under the report's root; note what is missing in it and return None.

    Returns:
        Its ``images``, ``categories`` and ``annotations``, with fields of the right kinds.
    """
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


def check_annotations(report: Report, name: str, content: dict) -> None:
    """Note ids that occur twice or lead nowhere, and boxes and masks that do not fit their image.

    Args:
        report: Takes the problems.
        name: Of the file.
        content: From :func:`read_annotations`.
    """
    for what, entries in (('image', 'images'), ('category', 'categories'), ('annotation', 'annotations')):
        if twice := [str(i) for i, count in Counter(entry['id'] for entry in content[entries]).items() if count > 1]:
            report.add(f'{name}: {what} ids that occur twice', twice)
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    categories = {category['id'] for category in content['categories']}
    # a handful of each of these is in COCO itself
    few = max(3, len(content['annotations']) // 1000)
    problems: dict[str, tuple[int, list[str]]] = {
        'annotations of images which are not listed': (0, unknown := []),
        'annotations of categories which are not listed': (0, foreign := []),
        'masks that do not fit their image': (0, unfit := []),
        'boxes that are empty or outside their image': (few, outside := []),
        'polygons outside their image': (few, out := []),
    }
    for annotation in content['annotations']:
        label, mask = str(annotation['id']), annotation.get('segmentation')
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
        if fault := fault_of_mask(mask, *size):
            unfit.append(f'{label} {fault}')
        elif sticks_out(mask, *size):
            out.append(label)
    for problem, (tolerated, found) in problems.items():
        if len(found) > tolerated:
            report.add(f'{name}: {problem}', found)
