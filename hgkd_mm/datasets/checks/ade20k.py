"""Check of ADE20K (ADEChallengeData2016), or of one's own images and label maps in its folders."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .report import Report, check_images, digest_of, existing_root, images_in, listing

IMAGES = {'training': 20_210, 'validation': 2_000}
CLASSES = 150
#: In label maps of mmseg: belongs to no class and is not evaluated.
IGNORED = 255


def check_ade20k(root: str | os.PathLike, own: int | None = None, workers: int = 8) -> dict[str, Any]:
    """Check images against label maps.

    Args:
        root: Folder with ``images/{training,validation}`` and ``annotations/{training,validation}``.
        own: One's own data with so many classes, labels ``0 .. own - 1``: no official counts are expected.
            None: ADE20K, labels 0 (nothing) and 1 to 150.
        workers: Threads that look at the files.

    Returns:
        The manifest: ``name``, and per split ``images`` and ``sha256`` (of paths and sizes).

    Raises:
        DataError: Lists everything that is missing or wrong.
    """
    path = existing_root(root)
    report = Report(path)
    highest = CLASSES if own is None else own - 1
    splits = {}
    for split, expected in IMAGES.items():
        folders = [report.folder(f'{kind}/{split}') for kind in ('images', 'annotations')]
        if folders[0] is None or folders[1] is None:
            continue
        images, labels = ({image.stem: image for image in images_in(folder)} for folder in folders if folder)
        report.count(f'images of {split}', len(images), expected if own is None else None)
        for what, alone in (
            (f'images of {split} without a label map', images.keys() - labels.keys()),
            (f'label maps of {split} without an image', labels.keys() - images.keys()),
        ):
            if alone:
                report.add(what, sorted(alone))
        wrong_kind = [name for name, file in labels.items() if file.suffix.lower() != '.png']
        if wrong_kind:
            report.add(f'label maps of {split} that are no PNG files, which lose no label', wrong_kind)
        files = [*images.values(), *labels.values()]
        before = len(report.problems)
        check_images(report, files, workers)
        if len(report.problems) == before:
            _check_labels(
                report, [(images[name], labels[name]) for name in sorted(images) if name in labels], highest, workers
            )
        splits[{'training': 'train', 'validation': 'val'}[split]] = {
            'images': len(images),
            'sha256': digest_of(listing(path, files)),
        }
    report.finish()
    return {'name': path.name if own is not None else 'ADE20K', 'splits': splits}


def _check_labels(report: Report, pairs: list[tuple[Path, Path]], highest: int, workers: int) -> None:
    def fault(pair: tuple[Path, Path]) -> str | None:
        name = pair[1].relative_to(report.root)
        try:
            with Image.open(pair[0]) as image, Image.open(pair[1]) as labels:
                if labels.mode not in ('L', 'P', '1'):
                    return f'{name} has mode {labels.mode}, expected one number a pixel'
                if image.size != labels.size:
                    return f'{name} is {labels.width}x{labels.height}, its image {image.width}x{image.height}'
                values = np.unique(np.asarray(labels))
        except (OSError, SyntaxError, ValueError) as error:
            return f'{name} cannot be decoded ({error})'
        odd = values[(values > highest) & (values != IGNORED)]
        return f'{name} has label {odd[0]}, expected 0 to {highest}' if odd.size else None

    with ThreadPoolExecutor(workers) as pool:
        faults = [found for found in pool.map(fault, pairs) if found]
    if faults:
        report.add('wrong label maps', faults)
