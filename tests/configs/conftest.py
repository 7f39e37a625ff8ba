"""Generated data in the layouts of ImageNet, COCO and ADE20K: two images a split, small in pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmpretrain.models import VisionTransformer
from safetensors.torch import save_file

SIZE = 96


def noise(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope='session')
def imagenet(tmp_path_factory) -> Path:
    """Folders for 1000 classes, as the data set insists on; an image in the first two of each split."""
    root = tmp_path_factory.mktemp('imagenet')
    (root / 'meta').mkdir()
    for split in ('train', 'val'):
        for index in range(1000):
            (root / split / f'n{index:08d}').mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(root / split / f'n{index:08d}' / 'a.jpg'), noise(index))
    for percent in (1, 10):
        (root / 'meta' / f'train_{percent}percent.txt').write_text('n00000000/a.jpg 0\nn00000001/a.jpg 1\n')
    return root


@pytest.fixture(scope='session')
def coco(tmp_path_factory, coco_writer) -> Path:
    """Both splits with two images of one object each."""
    root = tmp_path_factory.mktemp('coco')
    for split in ('train2017', 'val2017'):
        (root / split).mkdir()
        images, objects = [], []
        for index in range(2):
            name = f'{index:012d}.jpg'
            cv2.imwrite(str(root / split / name), noise(index))
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
def ade(tmp_path_factory) -> Path:
    """Both splits with two images; labels 0 (nothing), 1 and 150."""
    root = tmp_path_factory.mktemp('ade')
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[: SIZE // 2], labels[SIZE // 2 :, : SIZE // 2] = 1, 150
    for split in ('training', 'validation'):
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), noise(index))
            cv2.imwrite(str(root / 'annotations' / split / f'{index}.png'), labels)
    return root


@pytest.fixture(scope='session')
def teacher_weights(tmp_path_factory) -> Path:
    """A random Vision Transformer with tokens as wide as a ViT-B's, and the file that describes it."""
    arch = dict(embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=64)
    backbone = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=64, patch_size=16)
    path = tmp_path_factory.mktemp('teacher') / 'vit.safetensors'
    torch.manual_seed(0)
    model = VisionTransformer(arch=arch, img_size=64, patch_size=16)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    path.with_suffix('.json').write_text(json.dumps({'backbone': backbone}))
    return path
