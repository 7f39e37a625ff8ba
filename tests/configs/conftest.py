"""Generated data in the layouts of COCO and ADE20K: two images a split, small in pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset

SIZE = 96


@pytest.fixture(scope='session')
def coco(tmp_path_factory, coco_writer, noise) -> Path:
    """Both splits with two images of one object each."""
    root = tmp_path_factory.mktemp('coco')
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        images, objects = [], []
        for index in range(2):
            name = f'{index:012d}.jpg'
            cv2.imwrite(str(root / split / name), noise(index, SIZE))
            images.append(dict(id=index, file_name=name, width=SIZE, height=SIZE))
            low, high = 8.0, SIZE - 8.0
            objects.append(
                dict(
                    image_id=index,
                    category_id=index + 1,
                    bbox=[low, low, high - low, high - low],
                    area=(high - low) ** 2,
                    iscrowd=0,
                    segmentation=[[low, low, high, low, high, high, low, high]],
                )
            )
        names = list(CocoDataset.METAINFO['classes'])
        coco_writer(root / 'annotations' / f'instances_{split}.json', images, objects, names)
    return root


@pytest.fixture(scope='session')
def ade(tmp_path_factory, noise) -> Path:
    """Both splits with two images; labels 0 (nothing), 1 and 150."""
    root = tmp_path_factory.mktemp('ade')
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[: SIZE // 2], labels[SIZE // 2 :, : SIZE // 2] = 1, 150
    for split in ('training', 'validation'):
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), noise(index, SIZE))
            cv2.imwrite(str(root / 'annotations' / split / f'{index}.png'), labels)
    return root
