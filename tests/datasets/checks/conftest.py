"""Small data sets of one's own in the layouts of ImageNet, COCO and ADE20K."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save_image(path: Path, width: int = 24, height: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path))).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture
def folders(tmp_path) -> Path:
    """Two classes; four training and one validation image each."""
    for split, count in (('train', 4), ('val', 1)):
        for name in ('cat', 'dog'):
            for index in range(count):
                save_image(tmp_path / split / name / f'{index}.jpg')
    return tmp_path


@pytest.fixture
def coco(tmp_path) -> Path:
    """Two images a split, an object each."""
    for split in ('train2017', 'val2017'):
        images, objects = [], []
        for index in range(2):
            save_image(tmp_path / split / f'{index}.jpg')
            images.append({'id': index, 'file_name': f'{index}.jpg', 'width': 24, 'height': 16})
            objects.append({'id': index, 'image_id': index, 'category_id': 1, 'bbox': [1, 1, 8, 8]})
        content = {'images': images, 'annotations': objects, 'categories': [{'id': 1, 'name': 'cat'}]}
        (tmp_path / 'annotations').mkdir(exist_ok=True)
        (tmp_path / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def ade(tmp_path) -> Path:
    """Two images a split with label maps of three classes."""
    for split in ('training', 'validation'):
        for index in range(2):
            save_image(tmp_path / 'images' / split / f'{index}.jpg')
            labels = np.zeros((16, 24), np.uint8)
            labels[:8], labels[8:, :4] = 2, 255
            path = tmp_path / 'annotations' / split / f'{index}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(path)
    return tmp_path


@pytest.fixture
def content_of():
    """Give a function which lists all files below a folder with their bytes."""
    return lambda root: {path: path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}
