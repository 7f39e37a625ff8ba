"""The worked examples of docs/downstream.md run as they stand, on data in the layout they describe."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from hgkd_mm import engine

ROOT = Path(__file__).parents[2]
SIZE = 96


def documented(name: str) -> str:
    """The config of that name in the document."""
    text = (ROOT / 'docs' / 'downstream.md').read_text()
    return re.search(rf'```python\n(# {name}\n.*?)```', text, re.S)[1]


def parts(root: Path, coco_writer) -> None:
    for split in ('train2017', 'val2017'):
        (root / split).mkdir(parents=True)
        objects = [dict(image_id=i, category_id=i + 1, bbox=[8, 8, 80, 80], area=6400, iscrowd=0) for i in range(2)]
        objects = [dict(**o, segmentation=[[8, 8, 88, 8, 88, 88, 8, 88]]) for o in objects]
        images = [dict(id=i, file_name=f'{i}.jpg', width=SIZE, height=SIZE) for i in range(2)]
        for image in images:
            cv2.imwrite(str(root / split / image['file_name']), np.full((SIZE, SIZE, 3), 90, np.uint8))
        coco_writer(root / 'annotations' / f'instances_{split}.json', images, objects, ['bolt', 'nut'])


def fields(root: Path, coco_writer) -> None:
    labels = np.arange(SIZE * SIZE, dtype=np.int64).reshape(SIZE, SIZE) % 3
    for split in ('training', 'validation'):
        for folder in ('images', 'annotations'):
            (root / folder / split).mkdir(parents=True)
        for index in range(2):
            cv2.imwrite(str(root / 'images' / split / f'{index}.jpg'), np.full((SIZE, SIZE, 3), 90, np.uint8))
            cv2.imwrite(str(root / 'annotations' / split / f'{index}.png'), labels.astype(np.uint8))


EXAMPLES = {
    'my_parts.py': (
        'data/parts',
        parts,
        {
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.pipeline.2.scales': [(96, 96)],
            'val_dataloader.dataset.pipeline.1.scale': (96, 96),
            'train_dataloader.dataset.filter_cfg.min_size': 1,
            'model.train_cfg.rcnn.sampler.num': 8,
            'model.test_cfg.rpn.max_per_img': 10,
            'model.test_cfg.rcnn.score_thr': 0.0,
            'model.test_cfg.rcnn.max_per_img': 5,
        },
    ),
    'my_fields.py': (
        'data/fields',
        fields,
        {
            'train_cfg.max_iters': 1,
            'train_cfg.val_interval': 1,
            'model.data_preprocessor.size': (64, 64),
            'train_dataloader.dataset.pipeline.2.scale': (96, 96),
            'train_dataloader.dataset.pipeline.3.crop_size': (64, 64),
            'val_dataloader.dataset.pipeline.1.scale': (96, 96),
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', EXAMPLES)
def test_worked_example_trains_and_evaluates(name, tmp_path, coco_writer):
    folder, write, options = EXAMPLES[name]
    write(tmp_path / 'data', coco_writer)
    config = tmp_path / name
    config.write_text(documented(name).replace(folder, str(tmp_path / 'data')))
    options |= {
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'val_dataloader.num_workers': 0,
        'default_hooks.checkpoint': None,
        'log_level': 'WARNING',
    }
    arguments = [f'{key}={value}' for key, value in options.items()]
    engine.train([str(config), '--work-dir', str(tmp_path / 'work'), '--cfg-options', *arguments])
    result = json.loads((tmp_path / 'work' / 'result.json').read_text())
    assert result['metrics']
    if name == 'my_fields.py':
        assert set(result['metrics']) == {'mIoU', 'mAcc', 'aAcc'}


@pytest.mark.slow
def test_any_folder_of_images_is_pretrained_on(tmp_path, noise, train_one_iteration):
    folder = tmp_path / 'photos' / 'unlabeled'
    (folder / '2026').mkdir(parents=True)
    for index, name in enumerate(['a.jpg', '2026/b.png']):
        cv2.imwrite(str(folder / name), noise(index, SIZE))
    path = str(ROOT / 'configs' / 'pretraining' / 'spark_resnet18_8xb512-amp-coslr-1600e_in1k.py')
    options = {'data_root': tmp_path / 'photos', 'data_prefix': 'unlabeled', 'img_size': 64, 'num_workers': 0}
    options |= {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 1, 'custom_hooks.0.num_batches': 1}
    assert train_one_iteration(path, tmp_path / 'work', options)['loss'] > 0
    assert (tmp_path / 'work' / 'backbone.pth').is_file()
